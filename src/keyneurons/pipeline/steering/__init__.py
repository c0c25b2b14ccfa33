"""Texts generated under changed neurons, and what is measured on them."""
