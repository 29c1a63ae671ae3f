"""Figures as single publications and challenges define them."""
