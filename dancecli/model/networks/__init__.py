"""Networks, their pre-trained weights, and MMAction2."""
