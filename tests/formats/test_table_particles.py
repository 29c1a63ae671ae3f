"""Tables whose columns are named four-momenta in a configuration."""

from __future__ import annotations

import pytest

from simulacra import data
from simulacra.core import Particle, Resonance, UserError
from simulacra.formats.table_columns import columns_of
from simulacra.formats.table_files import TableFiles
from simulacra.formats.table_particles import particles_of
from support import composed

COLUMNS = columns_of(
    {
        "w": {"role": "weight"},
        **{f"{c}{i}": {"unit": "GeV"} for i in (1, 2) for c in ("px", "py", "pz", "e")},
        "s": {"use": "condition"},
    }
)
MUONS = {
    f"mu{i}": {"columns": [f"e{i}", f"px{i}", f"py{i}", f"pz{i}"], "mass": 0.10566} for i in (1, 2)
}


def test_a_table_can_say_which_columns_are_four_momenta() -> None:
    particles, resonances = particles_of(MUONS, {"z": ["mu1", "mu2"]}, COLUMNS)
    assert particles == (
        Particle("mu1", (3, 0, 1, 2), 0.10566),
        Particle("mu2", (7, 4, 5, 6), 0.10566),
    )
    assert resonances == (Resonance("z", ("mu1", "mu2")),)
    form = TableFiles("muons", COLUMNS, particles, resonances)
    assert form.spec.particles == particles
    rows = form.of("a.h5").toy_rows(50, 0)
    momenta = rows.x.unflatten(1, (2, 4))
    mass = (momenta[..., 3].square() - momenta[..., :3].square().sum(-1)).clamp_min(0).sqrt()
    assert float((mass - 0.10566).abs().max()) < 1e-2


def test_the_configuration_of_any_table_takes_them() -> None:
    events = data.build(
        composed(
            "data", "data=table",
            "+data.particles.jet={columns: [pt, y, phi, m]}", "data.resonances={}",
        )
    )  # fmt: skip
    assert events.spec.particles == (Particle("jet", (0, 1, 2, 3)),)


@pytest.mark.parametrize(
    ("particles", "resonances", "sentence"),
    [
        ({"mu": {"columns": ["e1", "px1", "py1"]}}, {}, "names of four features"),
        ({"mu": {"columns": ["e1", "px1", "py1", "s"]}}, {}, "names of four features"),
        ({"mu": {"columns": ["e1", "px1", "py1", "w"]}}, {}, "names of four features"),
        ({"mu": {"kind": 13}}, {}, "columns and a mass, not kind"),
        ({"mu": {**MUONS["mu1"], "mass": -1.0}}, {}, "at least 0"),
        ({"mu": MUONS["mu1"], "nu": MUONS["mu1"]}, {}, "columns of their own"),
        (MUONS, {"z": ["mu1", "e"]}, "at least two of"),
    ],
)
def test_particles_that_cannot_be_are_refused(
    particles: dict, resonances: dict, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        particles_of(particles, resonances, COLUMNS)
