"""The paper's experiments run again: `dance reproduce`."""
