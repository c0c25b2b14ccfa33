"""Lesions (ablations) of the key neurons of every tag and of control sets."""
