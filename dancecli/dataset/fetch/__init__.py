"""From annotation lists to clips: `dance plan`, `dance fetch`, `dance history`."""
