"""Tracked runs: execution from a validated configuration, and loading of finished runs."""
