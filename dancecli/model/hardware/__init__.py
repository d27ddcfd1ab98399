"""What the machine offers to networks: memory, cores, GPUs."""
