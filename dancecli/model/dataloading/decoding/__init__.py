"""What decodes clips: our own reader, or torchcodec."""
