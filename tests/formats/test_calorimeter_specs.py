import math

import pytest
import torch

from simulacra.core import FormatError, Spec
from simulacra.formats.binning import find_binning, read_binning
from simulacra.formats.calo_cloud import ild_cloud
from simulacra.formats.calochallenge import ds1_photons, ds1_pions, ds2, ds3, geometry_of
from simulacra.formats.calogan import PARTICLES, calogan
from simulacra.formats.ild import ild, ild_10x10, ild_angles
from simulacra.formats.lemurs import lemurs
from simulacra.formats.showerdata import showerdata

SPECS = (
    ds1_photons,
    ds1_pions,
    ds2,
    ds3,
    calogan,
    ild,
    ild_10x10,
    ild_angles,
    ild_cloud,
    lemurs,
    showerdata,
)


@pytest.mark.parametrize("make", SPECS)
def test_a_spec_survives_as_plain_data(make) -> None:  # type: ignore[no-untyped-def]
    assert Spec.from_dict(make().to_dict()) == make()


# arXiv:2410.21611, table of data sets
@pytest.mark.parametrize(
    ("make", "voxels", "ids"),
    [
        (ds1_photons, 368, [0, 1, 2, 3, 12]),
        (ds1_pions, 533, [0, 1, 2, 3, 12, 13, 14]),
        (ds2, 6480, list(range(45))),
        (ds3, 40500, list(range(45))),
    ],
)
def test_binning_files_give_the_published_voxels(make, voxels: int, ids: list[int]) -> None:  # type: ignore[no-untyped-def]
    geometry = geometry_of(make())
    assert geometry.n_voxels == voxels
    assert [layer.id for layer in geometry.layers] == ids


def test_layers_of_data_set_1_have_the_published_bins() -> None:
    shapes = {layer.id: layer.shape for layer in geometry_of(ds1_photons()).layers}
    assert shapes == {0: (1, 8), 1: (10, 16), 2: (10, 19), 3: (1, 5), 12: (1, 5)}


def test_angles_close_and_depths_follow_the_detector() -> None:
    layer = geometry_of(ds2()).layers[10]
    assert layer.periodic == 0
    assert layer.edges[0][0] == -math.pi
    assert layer.edges[0][-1] == math.pi
    assert layer.centres()[0][0].item() == pytest.approx(-math.pi + math.pi / 16)
    assert layer.edges[1][-1] == 41.85
    assert layer.depth == pytest.approx(34.0)
    assert geometry_of(ds1_photons()).layers[-1].depth == 12


def test_prior_of_data_set_1_has_the_counts_of_a_public_file() -> None:
    for make, total in ((ds1_photons, 121_000), (ds1_pions, 120_800)):
        prior = make().prior[0]
        assert sum(prior.weights) == total
        assert (prior.values[0], prior.values[-1]) == (256, 4_194_304)


def test_thresholds_are_those_of_the_public_evaluation() -> None:
    assert ds2().threshold == ds3().cut == pytest.approx(0.0151515, rel=1e-5)
    assert (ds1_photons().threshold, ds1_photons().cut) == (0.0, 1.0)
    assert ild().cut == pytest.approx(1000 * ild_cloud().cut) == 0.1


def test_calogan_conditions_on_the_particle_only_if_there_are_several() -> None:
    assert [field.name for field in calogan().conditions] == ["incident_energy"]
    field = calogan(PARTICLES).field("particle")
    assert field.classes == PARTICLES
    draws = calogan(PARTICLES).prior[1].draw(200, torch.Generator().manual_seed(0))
    assert set(draws[:, 0].tolist()) == {0.0, 1.0, 2.0}


def test_calogan_layers_lie_over_the_window() -> None:
    geometry = geometry_of(calogan())
    assert [layer.shape for layer in geometry.layers] == [(3, 96), (12, 12), (12, 6)]
    assert geometry.layers[0].edges[0] == (-240.0, -80.0, 80.0, 240.0)
    assert [layer.depth for layer in geometry.layers] == [-195.0, 23.5, 218.5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not XML"),
        ("not xml", "is not XML"),
        ("<Other/>", "found <Other> with 0"),
        ("<Bins><Bin/></Bins>", "none of the 0 layers has a voxel"),
        (
            '<Bins><Bin><Layer id="0" r_edges="0"/></Bin></Bins>',
            "lacks the attribute 'n_bin_alpha'",
        ),
        (
            '<Bins><Bin><Layer id="0" r_edges="0,x" n_bin_alpha="1"/></Bin></Bins>',
            "layer 0 is not readable",
        ),
        ('<Bins><Bin><Layer id="0" r_edges="0,5,3" n_bin_alpha="1"/></Bin></Bins>', "do not rise"),
        ('<Bins><Bin><Layer id="0" r_edges="0,5" n_bin_alpha="0"/></Bin></Bins>', "n_bin_alpha=0"),
    ],
)
def test_an_unreadable_binning_file_is_refused_in_one_sentence(
    text: str, message: str, tmp_path
) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "mine.xml"
    path.write_text(text)
    with pytest.raises(FormatError, match=message) as caught:
        read_binning(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_binning_file_of_ones_own_changes_the_spec(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "mine.xml"
    path.write_text(
        '<Bins><Bin><Layer id="4" r_edges="0,5,9" n_bin_alpha="3"/>'
        '<Layer id="5" r_edges="0" n_bin_alpha="1"/></Bin></Bins>'
    )
    spec = ds1_photons(binning=str(path))
    assert spec.shape == (6,)
    assert geometry_of(spec).layers[0].id == 4


def test_a_missing_binning_file_names_those_there_are() -> None:
    with pytest.raises(
        FormatError, match=r"nowhere\.xml: there is no such binning file.*binning_dataset_2\.xml"
    ):
        find_binning("nowhere.xml")


def test_a_grid_needs_layers_of_equal_shape() -> None:
    with pytest.raises(FormatError, match="ds2 needs layers of equal shape"):
        ds2(binning="binning_dataset_1_photons.xml")
