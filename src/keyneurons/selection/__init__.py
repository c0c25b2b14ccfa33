"""Scores of how strongly neurons mark tags, and rules that select key neurons from them."""
