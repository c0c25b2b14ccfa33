"""The HTML page on single neurons."""
