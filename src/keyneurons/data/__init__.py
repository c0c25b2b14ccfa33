"""Reads tagged sentences: CoNLL-U files, UD English EWT, raw text (Stanza) and the starter."""
