"""Generators of tables of quantities per event."""
