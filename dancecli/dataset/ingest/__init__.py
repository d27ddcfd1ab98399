"""Clips that exist elsewhere: `dance import`, `dance merge`."""
