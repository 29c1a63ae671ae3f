"""Parton showers that are written down: kernels, an angular-ordered shower, and toys drawn from it."""
