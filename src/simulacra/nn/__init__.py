"""Blocks of networks: they know tensors, not data sets."""
