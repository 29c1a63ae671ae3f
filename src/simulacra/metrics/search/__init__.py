"""Figures of searches: what a score gains, and what it does to the spectrum of the background."""
