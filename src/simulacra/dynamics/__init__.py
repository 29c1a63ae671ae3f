"""Generative dynamics: flows, paths, solvers, adversarial losses; no data set, no Lightning."""
