"""Linear probes: independent multinomial logistic regressions, trained many at a time with Lightning."""
