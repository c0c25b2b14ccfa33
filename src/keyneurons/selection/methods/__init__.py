"""Selection methods, one file each: how strongly every neuron marks every tag."""
