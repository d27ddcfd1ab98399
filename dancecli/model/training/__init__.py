"""One training run: config, loop, hooks, validation."""
