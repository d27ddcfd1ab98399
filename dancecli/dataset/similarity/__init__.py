"""Near-duplicate clips: `dance dedup`."""
