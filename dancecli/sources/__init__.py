"""Where clips come from: annotation lists and the places that hold the videos."""

# The places by name, as `dance fetch --source` takes them and outcomes name them.
LOCAL, MIRROR, YOUTUBE = "local", "mirror", "youtube"
