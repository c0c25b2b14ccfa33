"""What a page on single neurons says."""
