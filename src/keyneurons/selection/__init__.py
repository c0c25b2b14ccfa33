"""Scores that say how strongly each neuron marks each tag, and rules that turn scores into key neurons."""
