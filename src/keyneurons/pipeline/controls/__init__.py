"""Controls of the probe on the key neurons: the same measurement on something matched, one file each."""
