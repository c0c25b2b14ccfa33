"""Controls of the probe on the key neurons, one module each."""
