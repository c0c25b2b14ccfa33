"""Joins the stages; starts nothing itself."""
