"""What a run says: tables, figures, the summary."""
