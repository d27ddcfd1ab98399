"""Metrics, intervals and tests; pure functions."""
