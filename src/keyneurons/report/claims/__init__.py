"""Published claims beside what runs of one model on one treebank measured."""
