"""Does the model need its key neurons? Lesions of every tag's set beside control sets."""
