"""Whole runs: `dance finetune` and `dance train`, several seeds, resuming."""
