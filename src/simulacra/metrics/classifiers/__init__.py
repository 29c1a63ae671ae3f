"""Classifiers that try to tell two samples apart."""
