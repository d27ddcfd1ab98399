"""What everything else is built of: errors, records, labels, recipes, hashing. It imports nothing of the package."""
