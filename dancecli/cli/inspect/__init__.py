"""Commands that inspect, check and export a dataset."""
