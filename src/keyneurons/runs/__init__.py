"""One tracked run: from a checked configuration to its records, and finished runs found and loaded again."""
