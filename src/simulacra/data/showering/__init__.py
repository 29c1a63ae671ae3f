"""Parton showers that are written down: splitting kernels, an angular-ordered shower and what is drawn from it."""
