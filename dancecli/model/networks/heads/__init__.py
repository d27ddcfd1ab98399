"""Heads that are fitted to the features of a frozen backbone: probes."""
