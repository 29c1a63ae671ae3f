"""Generators in a simulation: production of events, export, and fast simulation inside Geant4."""
