"""Hydra's launcher of jobs on Ray."""
