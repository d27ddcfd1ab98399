"""A synthetic corpus, and a local video site that serves it."""
