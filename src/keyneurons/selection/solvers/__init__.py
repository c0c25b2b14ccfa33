"""Solvers that selection methods use: penalised regressions and Gaussians."""
