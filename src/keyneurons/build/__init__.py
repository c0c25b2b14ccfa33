"""Building the objects of an experiment from a validated configuration."""
