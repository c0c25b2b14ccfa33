"""From sentences to activations: tokens, forward passes and the cache on disk."""
