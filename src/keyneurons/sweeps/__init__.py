"""A sweep: its session, its launchers, its resumption."""
