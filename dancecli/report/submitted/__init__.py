"""What is checked of results that others submitted."""
