"""From a checked configuration to the objects of an experiment."""
