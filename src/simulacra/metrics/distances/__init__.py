"""Distances between two samples, and what looks for copies of training events."""
