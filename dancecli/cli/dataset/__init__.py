"""Commands that build a dataset."""
