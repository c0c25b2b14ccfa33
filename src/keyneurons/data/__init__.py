"""Reads tagged sentences: CoNLL-U files, UD treebanks by name, raw text (Stanza), the starter."""
