"""Hypotheses of a run: one row per tag with effects, tests and the predicted deficit."""
