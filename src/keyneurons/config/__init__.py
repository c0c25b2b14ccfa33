"""Configurations: schema, composition, overrides, trusted targets and run fingerprints."""
