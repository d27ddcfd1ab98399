"""What the app adds to looking: overlays, the map of the clips, likeness, and what to label next."""
