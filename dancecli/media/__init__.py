"""Media on disk: cutting with ffmpeg, proving by a full decode, checksums."""
