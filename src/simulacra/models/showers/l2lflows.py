r"""L2LFlows: one masked autoregressive flow per layer, given the layers before it.

Generates cell energies on regular grids given the incident energy and any further condition: a flow of the
layer energies, then for each layer a causal flow of its cells,

.. math:: p(v | E, c) = \prod_n p_n(v_n | e_n(v_{n-5} \dots v_{n-1}, E_n, c), E_n, c),

with an embedding network :math:`e_n` of the layers before it. All are masked autoregressive flows with
rational-quadratic splines, trained together by the sum of their negative log-likelihoods.

Reference: Diefenbacher et al., arXiv:2302.11594.

Note:
    Differs from the reference: cells are logarithms relative to a floor, standardised, with noise below it
    in empty ones (:mod:`simulacra.transforms.showers`); layer energies are fractions; both stand in for
    min-max scaling and logits. The layers' flows are trained in one run. The paper's code is not public: the
    published size follows the CaloFlow teacher of the same authors.
"""

from __future__ import annotations

from simulacra.core import Spec
from simulacra.models.showers.layerwise import Layerwise

LARGEST = 1000
"""Cells of a layer, at most: an autoregressive flow makes one after the other."""


class L2LFlows(Layerwise):
    """Autoregressive flows of the energies and of each layer."""

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Regular grids with an incident energy and layers that are not too large."""
        reason = super().accepts(spec)
        if reason is None and spec.geometry is not None and spec.geometry.sizes[0] > LARGEST:
            return (
                f"it generates cell by cell, at most {LARGEST} in a layer, and this data set's "
                f"layers have {spec.geometry.sizes[0]}"
            )
        return reason
