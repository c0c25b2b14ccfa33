"""Language models: where their weights come from, where their modules are, and how their blocks are run again."""
