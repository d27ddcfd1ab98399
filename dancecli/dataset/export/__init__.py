"""A split in the form that another tool reads: `dance export`."""
