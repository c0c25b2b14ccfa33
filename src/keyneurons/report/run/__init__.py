"""Reports of a run: summary, tables and figures."""
