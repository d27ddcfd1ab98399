"""Statistics that models and reports share."""
