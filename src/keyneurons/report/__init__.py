"""Reports for people: pages, figures, summaries."""
