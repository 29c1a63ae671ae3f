from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from simulacra.core import Batch, Field, IncompatibleError, Spec, UserError
from simulacra.data.views_image import JetImages
from simulacra.formats.jetnet import jetnet, toy_jets
from simulacra.physics.jet_images import JetImageObservables
from simulacra.physics.jets import JetObservables
from simulacra.physics.substructure import prongs

NATIVE = jetnet(30, ["g", "t"])


def view(pixels: int = 25, half_width: float = 0.8, threshold: float = 0.0) -> JetImages:
    return JetImages(NATIVE, pixels, half_width, threshold)


def jets(n: int = 100) -> Batch:
    return toy_jets(NATIVE, n, 0, 2)


def one(eta: float, phi: float, pt: float = 0.5) -> Batch:
    x = torch.zeros(1, 30, 3)
    x[0, 0] = torch.tensor([eta, phi, pt])
    return Batch(
        x, {"jet_class": torch.zeros(1, 1, dtype=torch.long)}, {}, torch.arange(30)[None] < 1
    )


def test_images_are_histograms_of_the_particles() -> None:
    batch, edges = jets(), np.linspace(-0.8, 0.8, 26)
    image = view().forward(batch)
    for number in range(10):
        eta, phi, pt = batch.x[number].double().numpy().T
        expected = np.histogram2d(eta, phi, bins=[edges, edges], weights=pt)[0]
        np.testing.assert_allclose(image.x[number, 0].numpy(), expected, atol=1e-6)
    view().spec.validate(image)
    assert torch.equal(image.cond["jet_class"], batch.cond["jet_class"])


def test_pixels_and_what_lies_outside_sum_to_the_jet() -> None:
    batch = jets()
    for made in (view(), view(half_width=0.2), view(threshold=0.02)):
        image = made.forward(batch)
        total = image.x.sum((1, 2, 3)) + image.event["outside"][:, 0]
        torch.testing.assert_close(total, batch.x[..., 2].sum(1))
    assert float(view(half_width=0.2).forward(batch).event["outside"].mean()) > 0.05
    assert float(view().forward(batch).event["outside"].max()) == 0


def test_no_pixel_is_below_the_threshold_that_the_spec_promises() -> None:
    made = view(threshold=0.02)
    image = made.forward(jets()).x
    assert made.spec.threshold == 0.02
    assert float(image[image > 0].min()) >= 0.02


@pytest.mark.parametrize(
    ("eta", "phi", "pixel"), [(-0.8, -0.8, (0, 0)), (0.8, 0.8, (24, 24)), (0.0, 0.79, (12, 24))]
)
def test_the_edges_of_the_window_belong_to_it(
    eta: float, phi: float, pixel: tuple[int, int]
) -> None:
    made = JetImages(NATIVE, 25, float(np.float32(0.8)), 0.0)
    image = made.forward(one(eta, phi)).x[0, 0]
    assert image.nonzero().tolist() == [list(pixel)]


def test_a_particle_outside_is_counted_and_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    made = view()
    with caplog.at_level(logging.WARNING):
        for eta, phi in ((0.9, 0.0), (0.0, -2.0), (1e6, 0.0)):
            image = made.forward(one(eta, phi))
            assert float(image.x.sum()) == 0
            assert float(image.event["outside"]) == 0.5
    assert len(caplog.records) == 1
    assert "1 of 1 particles" in caplog.text


def test_image_observables_agree_with_those_of_a_cloud_of_pixel_centres() -> None:
    image, observables = view().forward(jets(20)), JetImageObservables(view().spec)
    values = observables(image)
    assert set(values) == set(observables.axes())
    assert observables.features(image).isfinite().all()
    centres = torch.stack([observables.eta, observables.phi], 1).float().expand(20, -1, -1)
    flat = image.x.flatten(1)
    cloud = Spec(
        "pixels",
        "cloud",
        (625, 3),
        "",
        tuple(Field(name) for name in ("etarel", "phirel", "ptrel")),
    )
    mask = flat > 0
    points = torch.cat([centres, flat[..., None]], -1) * mask[..., None]
    expected = JetObservables(cloud)(Batch(points, mask=mask))
    for name in ("mass_rel", "pt_rel", "width", "lha", "ptd", "leading_ptrel"):
        torch.testing.assert_close(values[name], expected[name], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(values["active_pixels"], expected["multiplicity"])
    torch.testing.assert_close(values["sparsity"], 1 - expected["multiplicity"] / 625)
    tau = prongs(points[..., 0], points[..., 1], points[..., 2])["tau21"].float()
    assert 0.1 < float(tau.mean()) < 1
    torch.testing.assert_close(
        values["tau21"], tau, rtol=0, atol=0.05
    )  # pixels are often equally far


def test_two_pixels_are_two_prongs_and_one_has_none() -> None:
    x = torch.zeros(2, 1, 25, 25)
    x[:, 0, 12, 12] = x[1, 0, 12, 18] = 0.5
    one, two = JetImageObservables(view().spec)(Batch(x))["tau21"]
    assert bool(one.isnan())
    assert float(two) == 0


def test_the_mass_of_fine_images_is_that_of_the_particles() -> None:
    batch = jets(12)
    mass = JetObservables(NATIVE)(batch)["mass_rel"]
    errors = []
    for pixels in (25, 401):
        made = view(pixels, half_width=0.81)
        errors.append(
            (JetImageObservables(made.spec)(made.forward(batch))["mass_rel"] - mass).abs().mean()
        )
    assert errors[1] < 0.1 * errors[0]
    assert errors[1] < 1e-3


def test_the_radial_profile_and_the_mean_image_hold_the_sum() -> None:
    image, observables = view().forward(jets()), JetImageObservables(view().spec)
    torch.testing.assert_close(
        observables.profiles(image)["radial"].values.sum(1), image.x.sum((1, 2, 3))
    )
    torch.testing.assert_close(observables.images(image)["jet"].values, image.x.sum((0, 1)))


def test_an_empty_image_has_no_shape_and_finite_features() -> None:
    observables = JetImageObservables(view().spec)
    empty = Batch(torch.zeros(2, 1, 25, 25))
    assert observables(empty)["width"].isnan().all()
    assert observables(empty)["sparsity"].tolist() == [1.0, 1.0]
    assert observables.features(empty).isfinite().all()


def test_only_jets_have_jet_images() -> None:
    with pytest.raises(IncompatibleError, match="only jets"):
        JetImages(Spec("grid", "grid", (2, 2, 2), "MeV"), 25, 0.8, 0.0)
    with pytest.raises(UserError, match="pixels >= 1"):
        view(pixels=0)
    with pytest.raises(IncompatibleError, match="image over eta and phi"):
        JetImageObservables(NATIVE)
