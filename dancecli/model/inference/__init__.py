"""Labels and timelines for any video: `dance predict`."""
