"""Models: MMAction2, weights, training, evaluation."""
