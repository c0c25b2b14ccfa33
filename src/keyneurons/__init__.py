"""Key neurons of grammar in language models: found, compared, tested, tracked."""

__version__ = "0.1.0"
