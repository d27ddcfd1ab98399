"""What a dataset holds and whether it is sound: `dance stats`, `dance audit`, `dance verify`."""
