"""The base layer: errors, records, labels, recipes, hashing. It imports no other layer."""
