"""Convolutional L2LFlows: published size, energies, veto, batch norms, calibration, a short training."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from layer_toys import FLOOR, published_parameters, scores, showers, spec
from simulacra.callbacks.ema import EMA
from simulacra.core import IncompatibleError, Spec, UserError
from simulacra.dynamics.conv_chain import MapEmbedding
from simulacra.models.showers.conv_l2lflows import ConvL2LFlows
from support import made, spec_of
from toy_showers import train

SPEC = spec()


def small(*changes: str, spec: Spec = SPEC) -> ConvL2LFlows:
    return made(
        "conv_l2lflows", spec, "cells.history=2", "cells.squeeze=[2,2]", "cells.embedding.maps=4",
        "cells.embedding.positions=false", "cells.net.hidden=12", "cells.flow.blocks=2",
        "cells.flow.cells=false", "cells.flow.spline.bins=6", "energies.blocks=2",
        "energies.hidden=[32]", "energies.spline.bins=6", "energies.spline.bound=6.0",
        "transform.fill.gap=0.5", "transform.decades=6.0", "transform.rotate=false",
        "transform.veto=null", "optim.optimizer.lr=1e-2", "optim.scheduler=null", *changes,
    )  # fmt: skip


def perturb(module: ConvL2LFlows, scale: float = 0.05) -> ConvL2LFlows:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return module


@pytest.fixture(scope="module")
def fitted() -> ConvL2LFlows:
    return perturb(small().fit_transform([showers(256, 0), showers(256, 1)]))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_published_size_has_the_published_number_of_parameters():
    assert published_parameters("conv_l2lflows", "ds3") == pytest.approx(195e6, rel=0.02)


def test_it_accepts_regular_grids_only():
    for name in ("ild", "ds3", "ds2", "ild_10x10"):
        assert ConvL2LFlows.accepts(spec_of(name, None)) is None
    for name, reason in (("ds1_photons", "equal shape"), ("jetnet30", "cloud")):
        assert reason in str(ConvL2LFlows.accepts(spec_of(name, None)))
        with pytest.raises(IncompatibleError, match=reason):
            small(spec=spec_of(name, None))


@pytest.mark.parametrize(
    "changes",
    [
        (spec(3, 5, 3), "cells.embedding.early=false", "cells.levels=1", "cells.net.head=3"),
        (spec(2, 4, 6), "cells.squeeze=[1,3]", "cells.levels=2"),
    ],
)
def test_any_size_of_layers_encodes_samples_and_has_a_density(changes):
    shape, *options = changes
    module = small(*options, spec=shape)
    events = showers(8, 0)
    shape = module.spec.shape
    x = events.x[:, : shape[0], : shape[1], : shape[2]]
    batch = type(events)(x, events.cond)
    module.fit_transform([batch])
    made = module.sample(batch.conditions(), generator=seeded(0))
    assert made.x.shape == x.shape
    assert bool(torch.isfinite(module.log_prob(batch)).all())


def test_couplings_see_where_they_are_along_axes_that_do_not_close_on_themselves():
    for positions, different in ((True, True), (False, False)):
        module = perturb(small(f"cells.embedding.positions={positions}", spec=spec(3, 16, 16)))
        maps = module.cells.embeddings[1]
        with torch.no_grad():
            seen = maps([torch.zeros(1, 256)], torch.zeros(1, 2))[0]
        middle = seen[:, 2:-2, 2:-2]  # off the borders, where convolutions see the padding
        assert bool((middle != middle[:, :1, :1]).any()) is different
    around = MapEmbedding((8, 9), 1, 1, 4, (2, 3), 0, early=True, positions=True).positions
    assert around.shape == (2, 4, 3)
    assert torch.equal(around, around[:, :1].expand_as(around))
    assert not torch.equal(around[..., 0], around[..., 2] + 1e-9)


def test_gradients_reach_every_parameter():
    module = small("cells.embedding.early=false", "cells.levels=1").fit_transform([showers(128, 0)])
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-4)
    for _ in range(
        2
    ):  # what lies behind a layer of zeros gets its gradient from the second step on
        optimizer.zero_grad()
        module._loss(module.encode(showers(64, 1), seeded(0)), None)["loss"].backward()
        optimizer.step()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in module.parameters())


def test_layers_sum_to_the_generated_energies_and_no_cell_lies_between_zero_and_the_threshold(
    fitted: ConvL2LFlows,
):
    cond = showers(100, 2).conditions()
    with torch.no_grad(), fitted.evaluating():
        latent = fitted.generate(cond, seeded(1))
    layers, _ = fitted.transform._physical(latent.x["energies"], cond)
    wanted = fitted.transform.fill.inverse(layers, fitted.transform.floor)
    x = fitted.sample(cond, generator=seeded(1)).x
    assert not bool(((x > 0) & (x < FLOOR)).any())
    torch.testing.assert_close(x.sum((-1, -2)), wanted, rtol=1e-5, atol=1e-4)


def test_energies_beyond_the_veto_are_drawn_again(fitted: ConvL2LFlows):
    cond = showers(300, 2).conditions()
    total = fitted.sample(cond, generator=seeded(1)).x.sum((1, 2, 3))
    ratio = total / cond.values["incident_energy"][:, 0] / 1e3
    limit = float(ratio.quantile(0.7))
    vetoed = small(f"transform.veto={limit}")
    vetoed.load_state_dict(fitted.state_dict())
    again = vetoed.sample(cond, generator=seeded(1)).x.sum((1, 2, 3))
    kept = ratio <= limit
    assert float((again / cond.values["incident_energy"][:, 0] / 1e3).max()) <= limit * (1 + 1e-5)
    moved = (again - total).abs() > 1e-3 * total
    assert bool(moved[~kept].all())
    vetoed.transform.veto = 1e-9  # out of reach: scaled down in the end
    assert float(vetoed.sample(cond[:4], generator=seeded(1)).x.sum()) == 0
    with pytest.raises(UserError, match="veto"):
        small("transform.veto=0.0")


def test_sampling_a_module_in_training_mode_uses_and_leaves_the_running_statistics():
    module = perturb(small().fit_transform([showers(128, 0)]))
    train(module, showers(256, 3), 2, seed=0)
    cond = showers(16, 2).conditions()
    first = module.sample(cond, generator=seeded(0)).x
    module.train()
    before = {name: value.clone() for name, value in module.named_buffers()}
    assert torch.equal(module.sample(cond, generator=seeded(0)).x, first)
    assert module.training
    assert all(torch.equal(value, before[name]) for name, value in module.named_buffers())
    one_by_one = module.sample(cond, batch_size=16, generator=seeded(0)).x
    torch.testing.assert_close(one_by_one, first)


def test_the_density_is_that_of_energies_and_does_not_depend_on_the_other_events(
    fitted: ConvL2LFlows,
):
    batch = showers(16, 3)
    together = fitted.log_prob(batch)
    torch.testing.assert_close(together[5:6], fitted.log_prob(batch[5:6]), rtol=1e-4, atol=1e-2)
    latent = fitted.eval().encode(batch)
    flow = fitted.cells.log_prob(latent.x["cells"], fitted.context(latent))
    y = fitted.transform.fill(batch.x.flatten(1), fitted.transform.floor).requires_grad_()
    (slope,) = torch.autograd.grad(fitted.transform.cells(y).sum(), y)
    per_log_energy = fitted.log_probs(latent)["cells"]
    torch.testing.assert_close(per_log_energy, flow + slope.log().sum(-1), rtol=1e-4, atol=1e-2)
    fitted.train()


def test_calibration_maps_the_generated_spectrum_onto_the_true_one():
    module = perturb(small("calibration.events=400").fit_transform([showers(500, 0)]))
    plain = module.sample(module.spectrum.conditions(), generator=seeded(3)).x
    module.on_validation_epoch_start()
    made = module.sample(module.spectrum.conditions(), generator=seeded(3)).x
    levels = torch.linspace(0.02, 0.98, 49)
    true, before, after = (
        torch.quantile(x[x > 0].log(), levels) for x in (showers(500, 0).x, plain, made)
    )
    assert float((after - true).abs().mean()) < 0.2 * float((before - true).abs().mean())
    assert torch.equal(made > 0, plain > 0)
    again = module.state_dict()
    module.calibrate()  # from uncalibrated events, hence the same
    assert all(torch.equal(value, again[name]) for name, value in module.state_dict().items())


def test_the_saved_average_of_the_weights_is_calibrated(tmp_path: Path):
    module = small("calibration.events=32").fit_transform([showers(64, 0)])
    loader = DataLoader([showers(32, 1), showers(32, 2)], batch_size=None)
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[EMA(0.5, 1.0)],
        num_sanity_val_steps=0, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(module, loader, loader)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    other = small("calibration.events=32")
    other.load_state_dict(torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"])
    assert bool(other.spectrum.known.all())
    saved = other.spectrum.generated.knots.clone()
    other.calibrate()  # the average's own spectrum, not that of the live weights
    torch.testing.assert_close(other.spectrum.generated.knots, saved)


@pytest.mark.smoke
def test_a_short_training_learns_cells_layers_and_conditions():
    # Seeds 0 to 4, trained (untrained): likelihood per number -0.18 to -0.16 (1.34) against 1.21 to 1.24 of
    # independent Gaussians; 0.94 to 0.98 (0) worse with other showers' layers before; distance 0.31 to 0.38
    # (0.89), with shuffled conditions 0.59 to 0.71; correlation of successive centres 0.17 to 0.24 (0.96)
    # below the truth's, 0.96 to 0.98 (0.01) with the true layer before.
    module = small().fit_transform([showers(3000, 0)])
    train(module, showers(3000, 0), 130, seed=0)
    found = scores(module, seed=0)
    assert found["nll"] < found["nll_gaussian"] - 1, found
    assert found["nll_other_past"] > found["nll"] + 0.5, found
    assert found["distance"] < 0.5 < found["distance_shuffled"], found
    assert abs(found["neighbours"] - found["neighbours_true"]) < 0.35, found
    assert found["after_true"] > 0.8 > 0.2 > abs(found["after_generated"]), found
    assert round_trip(module) < 1e-4


def round_trip(module: ConvL2LFlows) -> float:
    """Largest error of noise to cells and back, in single precision."""
    truth = showers(100, 50)
    with torch.no_grad():
        latent = module.encode(truth, seeded(0))
        context = module.context(latent)
        chain = module.cells
        layers = chain.split(latent.x["cells"])
        z = torch.randn(layers[2].shape, generator=seeded(1))
        steered = chain.steer(2, layers[:2], context)
        back = chain.flow_of(2)(chain.flow_of(2).inverse(z, steered)[0], steered)[0]
    return float((back - z).abs().max())
