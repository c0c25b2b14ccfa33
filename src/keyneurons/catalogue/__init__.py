"""Publications of runs: written to a folder or the Hugging Face hub, and verified when pulled."""
