"""Hyper-parameter search: `dance tune`."""
