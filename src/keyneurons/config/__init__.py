"""Configurations: what is legal, where options are, what may name code, and what makes two runs the same."""
