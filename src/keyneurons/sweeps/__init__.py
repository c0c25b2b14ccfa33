"""Sweeps: jobs, parent run, launchers, resumption and comparison."""
