"""Collisions by Pythia 8, jets by FastJet: training data in the formats of JetNet, of the LHC Olympics, and
top pairs as quarks.

Pythia 8 and FastJet are under the GNU General Public License, and no part of this package: they are separate
installs (``pip install simulacra[jets]``), imported by :meth:`~simulacra.deploy.production.Simulator.open`
alone, which ``simulacra produce`` calls in child processes. Nothing of theirs is copied here.
"""
