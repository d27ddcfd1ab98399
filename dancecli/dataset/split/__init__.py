"""Train, val and test, by group: `dance split`, `dance annotate`."""
