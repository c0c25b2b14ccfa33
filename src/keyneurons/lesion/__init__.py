"""Lesions (ablations): interventions in the running model and their effect on its predictions."""
