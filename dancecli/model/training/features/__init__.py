"""Frozen backbones: features that are computed once and trained from."""
