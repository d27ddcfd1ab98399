"""The paper's experiments, run again: as published, and under a protocol with a validation part."""
