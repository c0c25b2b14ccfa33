"""Linear probes: independent multinomial logistic regressions, trained together with Lightning."""
