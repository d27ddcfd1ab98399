"""Where clips come from: annotation lists and the places that hold the videos."""
