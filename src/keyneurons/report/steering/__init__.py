"""Reports of steering: table, figure, texts."""
