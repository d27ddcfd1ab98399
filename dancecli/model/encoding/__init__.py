"""Clips as vectors of fixed length, made of descriptors of which each clip has another number."""
