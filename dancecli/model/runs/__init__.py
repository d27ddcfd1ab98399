"""Training runs: `dance finetune`, `dance train`, several seeds, resuming."""
