"""From the clips of a split to the tensors that a network sees."""
