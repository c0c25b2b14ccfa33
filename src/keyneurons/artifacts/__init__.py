"""Files with a format: what a run leaves is checked completely by whoever reads it."""
