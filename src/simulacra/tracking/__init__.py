"""Trackers of runs: a CSV file, Weights & Biases, a self-contained HTML report."""
