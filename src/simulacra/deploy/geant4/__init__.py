"""Geant4 11 from Python (extra ``geant4``): production of showers, and generators inside a simulation.

Geant4 allows one detector per process and ends the process when something is wrong, so all of it runs in
child processes. Nothing here imports ``geant4_pybind`` before :func:`simulacra.deploy.geant4.runtime.load`.

This product includes software developed by Members of the Geant4 Collaboration (http://cern.ch/geant4), which
``geant4_pybind`` brings.
"""
