"""Bases: the units of a layer that take the place of its neurons, and their directions."""
