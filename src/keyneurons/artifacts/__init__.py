"""Files with a format: one module a format, with strict readers."""
