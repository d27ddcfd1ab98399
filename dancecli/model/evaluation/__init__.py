"""Runs evaluated: other views, other splits, ensembles, baselines, Grad-CAM."""
