"""A corpus that the tool makes itself, and a video site on loopback to fetch it from."""
