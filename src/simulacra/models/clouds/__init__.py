"""Generators of point clouds: jets, and showers as points."""
