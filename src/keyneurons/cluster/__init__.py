"""Ray: its options, the connection to a cluster, and calls in its processes."""
