"""Preprocessing with exact inverses; statistics are buffers."""
