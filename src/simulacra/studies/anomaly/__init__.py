"""Searches for a resonance without a model of it."""
