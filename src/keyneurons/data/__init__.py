"""From files to tagged sentences: CoNLL-U, the release of UD English EWT, raw text tagged by Stanza, the starter."""
