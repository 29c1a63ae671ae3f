"""A trained generator as one file that other programs run: see :mod:`simulacra.deploy.export.graph`."""
