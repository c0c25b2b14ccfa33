"""A local page on finished runs: read typed text, lesion key neurons, browse neurons."""
