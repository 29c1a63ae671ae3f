r"""Observables of top pairs that decay to six quarks, from their four-momenta (arXiv:1907.03764, section 3).

Masses are those of the sums of four-momenta: of both W bosons, of both top quarks and of the pair. A negative
squared mass, which a generator may make, counts as zero.
"""

from __future__ import annotations

import torch
from torch import Tensor

from simulacra.core import Batch, IncompatibleError, Spec
from simulacra.core.momenta import mass, transverse
from simulacra.formats.six_quarks import COMPONENTS, QUARKS, RESONANCES
from simulacra.physics.base import Axis, ObservableSet, per_batch

SYSTEMS: dict[str, tuple[str, ...]] = {
    **{resonance.name: resonance.particles for resonance in RESONANCES},
    "pair": QUARKS,
}
"""Quarks of each system whose mass is looked at."""
MASSES = {
    "w_plus": Axis("mass of $W^+$", "GeV", 60, 60.0, 100.0, category="mass"),
    "w_minus": Axis("mass of $W^-$", "GeV", 60, 60.0, 100.0, category="mass"),
    "top": Axis("mass of $t$", "GeV", 60, 150.0, 195.0, category="mass"),
    "antitop": Axis(r"mass of $\bar t$", "GeV", 60, 150.0, 195.0, category="mass"),
    "pair": Axis(r"mass of $t\bar t$", "GeV", 60, 300.0, 1200.0, category="mass"),
}
LABELS = {"b": "$b$", "bbar": r"$\bar b$", **{f"q{i}": f"$q_{i}$" for i in range(1, 5)}}
SOFTEST = 1e-3
"""Smallest transverse momentum [GeV] in a pseudorapidity."""


def momenta(x: Tensor) -> Tensor:
    """Four-momenta ``(B, 6, 4)`` of rows ``(B, 24)``, float64 [GeV]."""
    return x.double().unflatten(1, (len(QUARKS), len(COMPONENTS)))


class SixQuarkObservables(ObservableSet):
    """Masses of five systems, transverse momenta of quarks and top quarks, pseudorapidities of quarks.

    Args:
        spec: The data set, whose features are those of :mod:`simulacra.formats.six_quarks`.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        names = [f"{quark}_{component}" for quark in QUARKS for component in COMPONENTS]
        if [field.name for field in spec.features] != names:
            raise IncompatibleError(f"{spec.name} does not hold the four-momenta of six quarks")

    @per_batch
    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """Values ``(B,)`` by name, in GeV but for pseudorapidities."""
        quarks = momenta(batch.x)
        sums = {
            name: quarks[:, [QUARKS.index(quark) for quark in parts]].sum(1)
            for name, parts in SYSTEMS.items()
        }
        found = {f"mass_{name}": mass(total) for name, total in sums.items()}
        found |= {f"pt_{name}": transverse(sums[name]) for name in ("top", "antitop")}
        for i, quark in enumerate(QUARKS):
            pt = transverse(quarks[:, i])
            found[f"pt_{quark}"] = pt
            found[f"eta_{quark}"] = torch.asinh(quarks[:, i, 3] / pt.clamp_min(SOFTEST))
        return found

    def axes(self) -> dict[str, Axis]:
        """Labels and binnings; ranges of momenta come from the truth."""
        axes = {f"mass_{name}": axis for name, axis in MASSES.items()}
        axes |= {
            f"pt_{name}": Axis(f"$p_T$ of {label}", "GeV", category="momentum")
            for name, label in (("top", "$t$"), ("antitop", r"$\bar t$"))
        }
        for quark in QUARKS:
            axes[f"pt_{quark}"] = Axis(f"$p_T$ of {LABELS[quark]}", "GeV", category="momentum")
            axes[f"eta_{quark}"] = Axis(
                f"pseudorapidity of {LABELS[quark]}", "", 50, -6.0, 6.0, category="direction"
            )
        return axes

    def features(self, batch: Batch) -> Tensor:
        """All observables, what is in GeV as a logarithm, ``(B, F)`` for a classifier."""
        found = self(batch)
        return torch.nan_to_num(
            torch.stack(
                [
                    value if name.startswith("eta") else value.clamp_min(SOFTEST).log()
                    for name, value in found.items()
                ],
                1,
            )
        )
