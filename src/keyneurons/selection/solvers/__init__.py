"""What methods fit: penalised regressions and Gaussians, solved for all tags at once."""
