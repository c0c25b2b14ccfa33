"""Reports of a comparison of runs: tables, figures, page, console output."""
