"""Language models: sources of their weights, module paths by architecture, and block calls."""
