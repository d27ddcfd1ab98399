"""Clips that look the same: `dance dedup`."""
