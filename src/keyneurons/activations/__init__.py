"""From sentences to activations: model folders, tokens, forward passes and the cache on disk."""
