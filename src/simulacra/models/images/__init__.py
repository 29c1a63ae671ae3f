"""Generators of detector images."""
