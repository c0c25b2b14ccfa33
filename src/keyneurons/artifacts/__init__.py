"""Files with a format: one module a format, with its writer and its strict readers."""
