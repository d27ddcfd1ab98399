"""Probes: heads that are fitted to the stored features of a frozen backbone."""
