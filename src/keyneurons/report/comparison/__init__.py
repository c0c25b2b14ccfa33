"""What a comparison of runs says."""
