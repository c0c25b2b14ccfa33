"""What a run leaves behind for people: files, figures, a summary."""
