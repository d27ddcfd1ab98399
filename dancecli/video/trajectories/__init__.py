"""Improved dense trajectories (Wang & Schmid 2013): points tracked in flow, and what is around them."""
