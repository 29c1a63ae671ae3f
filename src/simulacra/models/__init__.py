"""Generative architectures, one file each."""
