"""Output files: one module per format, with its writer and strict readers."""
