"""Overlap, stability, agreement and controls of key-neuron sets."""
