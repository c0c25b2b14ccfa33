"""Interventions inside the running model, and what they do to its predictions."""
