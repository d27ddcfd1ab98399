"""Backbones as the Hugging Face Hub publishes them: `--pretrain hf:REPO@REVISION`."""
