"""The stages of a run and the experiment that joins them."""
