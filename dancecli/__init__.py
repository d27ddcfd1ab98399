"""Build a dance-video dataset and benchmark models on it."""
