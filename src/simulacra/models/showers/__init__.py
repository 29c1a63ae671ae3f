"""Generators of calorimeter showers on layers and grids."""
