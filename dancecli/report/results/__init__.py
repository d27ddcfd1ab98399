"""What is read of runs and how they compare, before anything is drawn."""
