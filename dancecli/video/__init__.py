"""Single videos: cutting, decoding, validating, hashing, augmenting, optical flow."""
