"""What is computed from clips: `dance augment`, `dance flow`."""
