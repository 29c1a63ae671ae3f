"""Four-momenta in a spec, and masses with gradients that stay finite."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from simulacra.core import Field, Particle, Resonance, Spec
from simulacra.core.momenta import mass, transverse

PARTICLES = (Particle("a", (0, 1, 2, 3), 0.5), Particle("b", (7, 4, 5, 6)))
SPEC = Spec(
    "pairs", "table", (8,), "", features=tuple(Field(f"f{i}", "GeV") for i in range(8)),
    particles=PARTICLES, resonances=(Resonance("z", ("a", "b")),),
)  # fmt: skip


def test_particles_survive_plain_data_and_old_specs_have_none(tmp_path) -> None:
    torch.save(SPEC.to_dict(), tmp_path / "spec.pt")
    read = Spec.from_dict(torch.load(tmp_path / "spec.pt", weights_only=True))
    assert read.particles == PARTICLES
    assert read.resonances == SPEC.resonances
    old = {
        key: value
        for key, value in SPEC.to_dict().items()
        if key not in ("particles", "resonances")
    }
    assert Spec.from_dict(old) == SPEC  # what is known beside the columns makes no other data set
    assert Spec.from_dict(old).particles == ()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"particles": (Particle("a", (0, 1, 2, 8)),)}, "columns of their own"),
        ({"particles": (PARTICLES[0], Particle("b", (3, 4, 5, 6)))}, "columns of their own"),
        ({"particles": (PARTICLES[0], replace(PARTICLES[1], name="a"))}, "stand twice"),
        ({"resonances": (Resonance("z", ("a",)),)}, "at least two"),
        ({"resonances": (Resonance("z", ("a", "c")),)}, "at least two"),
        ({"resonances": (Resonance("z", ("a", "a", "b")),)}, "at least two"),
        ({"resonances": SPEC.resonances * 2}, "stand twice"),
    ],
)
def test_what_a_table_cannot_hold_is_refused(change: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        replace(SPEC, **change)


def test_a_particle_needs_four_columns_and_a_mass_from_zero() -> None:
    with pytest.raises(ValueError, match="four columns"):
        Particle("a", (0, 1, 2, 2))
    with pytest.raises(ValueError, match="at least 0"):
        Particle("a", (0, 1, 2, 3), -1.0)


def test_masses_and_transverse_momenta() -> None:
    p = torch.tensor([[5.0, 0.0, 3.0, 0.0], [5.0, 3.0, 0.0, 4.0], [1.0, 3.0, 4.0, 0.0]])
    assert mass(p).tolist() == [4, 0, 0]
    assert transverse(p).tolist() == [3, 3, 5]


def test_gradients_of_masses_are_finite_at_and_below_zero() -> None:
    p = torch.tensor([[5.0, 0.0, 3.0, 0.0], [5.0, 3.0, 0.0, 4.0], [1.0, 3.0, 4.0, 0.0]])
    p.requires_grad_()
    mass(p).sum().backward()
    assert p.grad is not None
    torch.testing.assert_close(p.grad[0], torch.tensor([1.25, 0.0, -0.75, 0.0]))
    assert not bool(p.grad[1:].any())
