"""How sets of key neurons overlap, and the controls that stand beside every measurement."""
