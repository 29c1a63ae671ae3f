"""The contract's machinery, on a model whose answer is known: a Gaussian with learned mean and width."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from simulacra.core import (
    Batch,
    Conditions,
    Field,
    IncompatibleError,
    Latent,
    Prior,
    Spec,
    UserError,
)
from simulacra.training.checkpoint import load, load_weights, read
from simulacra.training.fine_tuning import fine_tune
from simulacra.training.generative import GenerativeModule, Objective, frozen
from simulacra.training.optim import Optim, one_cycle
from simulacra.training.record import Record
from simulacra.transforms.base import Batches, Transform

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*no `val_dataloader`"
)  # these runs validate by hand

SPEC = Spec(
    "toy",
    "image",
    (1, 2, 2),
    "MeV",
    conditions=(Field("incident_energy", "MeV", low=1.0, high=3.0, role="energy"),),
    threshold=0.01,
    cut=0.01,
    prior=(Prior("incident_energy", "uniform", (1.0, 3.0)),),
    sample_batch=16,
)


class Scale(Transform):
    def __init__(self, spec: Spec) -> None:
        super().__init__(spec.conditions)
        self.register_buffer("scale", torch.ones(()))

    def fit_statistics(self, batches: Batches) -> None:
        self.scale.copy_(torch.stack([batch.x.mean() for batch in batches]).mean())

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        return Latent({"x": batch.x / self.scale}, self.condition(batch.conditions()))

    def inverse(
        self, latent: Latent, cond: Conditions, generator: torch.Generator | None = None
    ) -> Batch:
        return Batch((latent.x["x"] * self.scale).clamp_min(0))


class Gaussian(GenerativeModule):
    """Mean proportional to the condition; with ``critic`` a second, adversarial objective."""

    def __init__(
        self, spec: Spec, given: list[str] | None = None, critic: bool = False, every: int = 1
    ) -> None:
        super().__init__(spec, given)
        self.transform = Scale(spec)
        self.mean = nn.Linear(1, 4)
        self.critic = nn.Linear(4, 1) if critic else None
        self.every = every

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        return None if spec.kind == "image" else "it makes images only"

    def objectives(self) -> dict[str, Objective]:
        sgd = partial(torch.optim.SGD, lr=0.05)
        schedule = partial(one_cycle, max_lr=0.05)
        optim = Optim(sgd, schedule)
        fit = Objective(self._fit, list(self.mean.parameters()), optim, every=self.every)
        if self.critic is None:
            return {"fit": fit}
        return {
            "critic": Objective(self._criticise, list(self.critic.parameters()), Optim(sgd)),
            "fit": fit,
        }

    def _fit(self, latent: Latent, generator: torch.Generator | None) -> dict[str, Tensor]:
        mean = self.mean(latent.cond)
        loss = (latent.x["x"].flatten(1) - mean).square().mean()
        if self.critic is not None:
            with frozen(self.critic):
                loss = loss - 0.01 * self.critic(mean).mean()
        return {"loss": loss}

    def _criticise(self, latent: Latent, generator: torch.Generator | None) -> dict[str, Tensor]:
        with torch.no_grad():
            fake = self.mean(latent.cond)
        real = self.critic(latent.x["x"].flatten(1))
        return {"loss": (self.critic(fake) - real).mean() + 0.1 * real.square().mean()}

    def generate(self, cond: Conditions, generator: torch.Generator | None = None) -> Latent:
        scaled = self.transform.condition(cond)
        noise = torch.randn(len(cond), 4, generator=generator)
        return Latent({"x": (self.mean(scaled) + 0.01 * noise).view(-1, 1, 2, 2)}, scaled)


def events(n: int = 64) -> Batch:
    generator = torch.Generator().manual_seed(0)
    energy = 1 + 2 * torch.rand(n, 1, generator=generator)
    noise = 0.1 * torch.rand(n, 1, 2, 2, generator=generator)
    return Batch(energy[:, :, None, None] * (0.5 + noise), {"incident_energy": energy})


class Loader:
    """Batches of eight, in a fixed order."""

    def __init__(self, batch: Batch) -> None:
        self.batches = [batch[i : i + 8] for i in range(0, len(batch), 8)]

    def __iter__(self):
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def trainer(path: Path, **options: object) -> pl.Trainer:
    quiet = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "accelerator": "cpu",
    }
    return pl.Trainer(default_root_dir=path, enable_checkpointing=False, **{**quiet, **options})


def make(**options: object) -> Gaussian:
    torch.manual_seed(0)
    return Gaussian(SPEC, **options).fit_transform(Loader(events()))


@pytest.mark.parametrize("critic", [False, True])
def test_training_reduces_the_loss_with_one_and_with_two_optimizers(
    tmp_path: Path, critic: bool
) -> None:
    module = make(critic=critic)
    latent = module.encode(events())
    before = module.objectives()["fit"].loss(latent, None)["loss"].item()
    trainer(tmp_path, max_epochs=20).fit(module, Loader(events()))
    assert module.objectives()["fit"].loss(latent, None)["loss"].item() < 0.2 * before


def test_each_loss_reaches_exactly_its_own_parameters() -> None:
    module = make(critic=True)
    latent = module.encode(events())
    for objective in module.objectives().values():
        objective.loss(latent, None)["loss"].backward()
        reached = {
            p for p in module.parameters() if p.grad is not None and bool((p.grad != 0).any())
        }
        assert reached == set(objective.parameters)
        module.zero_grad()


def test_rates_clipping_accumulation_and_schedules_of_hand_stepped_objectives(
    tmp_path: Path,
) -> None:
    module = make(critic=True, every=2)
    module.clip, module.accumulate = 1e-30, 2
    before = [p.detach().clone() for p in module.parameters()]
    runner = trainer(tmp_path, max_epochs=2)
    runner.fit(module, Loader(events()))
    assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True)), (
        "clipped to nearly nothing"
    )
    # 16 batches, accumulated by two: 8 turns, of which the fit takes every second
    assert runner.global_step == 8 + 4
    assert runner.lr_scheduler_configs[0].scheduler.last_epoch == 4


def test_samples_are_physical_deterministic_and_cut_at_the_threshold() -> None:
    module = make()
    cond = Conditions(40, {"incident_energy": torch.linspace(1, 3, 40)[:, None]})
    first, again = (
        module.sample(cond, generator=torch.Generator().manual_seed(1)) for _ in range(2)
    )
    other = module.sample(cond, generator=torch.Generator().manual_seed(2))
    assert torch.equal(first.x, again.x)
    assert not torch.equal(first.x, other.x)
    assert not bool(((first.x > 0) & (first.x < SPEC.threshold)).any())
    assert torch.equal(first.cond["incident_energy"], cond.values["incident_energy"])
    chunks = list(module.stream(cond, batch_size=7, generator=torch.Generator().manual_seed(1)))
    assert [len(c) for c in chunks] == [7, 7, 7, 7, 7, 5]
    assert not module.sample(5).x.requires_grad
    assert module.training, "sampling leaves the mode as it was"


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda m: m.sample(0), "at least 1, got 0"),
        (lambda m: m.sample(4, batch_size=-1), "batch_size must be at least 1, got -1"),
        (lambda m: m.sample(Conditions(3)), "lack"),
        (lambda m: m.sample(Conditions(0, {"incident_energy": torch.ones(0, 1)})), "at least 1"),
    ],
)
def test_impossible_requests_are_one_sentence(call, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        call(make())


def test_requests_outside_the_trained_range_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    module = make()
    module.record = Record(trained_range={"incident_energy": (1.0, 2.0)})
    with caplog.at_level(logging.WARNING):
        module.sample(Conditions(2, {"incident_energy": torch.tensor([[1.5], [2.5]])}))
    assert "1 of 2 values of incident_energy lie outside the trained range 1 to 2" in caplog.text
    assert float(module.sample(200).cond["incident_energy"].max()) <= 2.0, "the prior is narrowed"


def test_a_model_refuses_data_it_cannot_represent() -> None:
    with pytest.raises(IncompatibleError, match="images only"):
        Gaussian(SPEC.with_(kind="grid"))
    with pytest.raises(UserError, match="leaves out"):
        Gaussian(SPEC, given=[])


def test_training_without_statistics_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="fit_transform"):
        trainer(tmp_path, max_steps=1).fit(Gaussian(SPEC), Loader(events()))


def save(module: Gaussian, path: Path) -> Path:
    runner = trainer(path.parent, max_steps=3, max_epochs=1)
    runner.fit(module, Loader(events()))
    runner.save_checkpoint(path)
    return path


def test_a_checkpoint_is_plain_data_and_reloads_bitwise(tmp_path: Path) -> None:
    module = make()
    module.record = Record(
        {"model": {"_target_": "elsewhere.Gaussian"}},
        {"incident_energy": (1.0, 3.0)},
        {"file": "f"},
    )
    path = save(module, tmp_path / "a.ckpt")
    contents = read(path)
    other = Gaussian(Spec.from_dict(contents["simulacra"]["spec"]))
    load_weights(other, contents["state_dict"], "a")
    one, two = (m.sample(9, generator=torch.Generator().manual_seed(3)) for m in (module, other))
    assert torch.equal(one.x, two.x)
    assert Record.from_dict(contents["simulacra"]) == module.record
    with pytest.raises(UserError, match="was not run"):
        load(path)


def test_checkpoints_that_must_not_be_loaded(tmp_path: Path) -> None:
    module = make()
    path = save(module, tmp_path / "a.ckpt")
    contents = read(path)

    class Code:
        def __reduce__(self):
            return (Path(tmp_path / "ran").touch, ())

    for name, change, sentence in [
        ("newer", {"simulacra": {**contents["simulacra"], "format_version": 99}}, "format 99"),
        (
            "older",
            {"simulacra": {**contents["simulacra"], "format_version": 1}},
            r"^\S+ was not loaded: it was written before version 0\.2, [^\n]+: train again[^\n]+$",
        ),
        ("foreign", {"simulacra": None}, "is not a simulacra checkpoint"),
        ("code", {"extra": Code()}, "objects other than tensors"),
    ]:
        broken = {**contents, **change}
        if broken["simulacra"] is None:
            del broken["simulacra"]
        torch.save(broken, tmp_path / name)
        with pytest.raises(UserError, match=sentence):
            read(tmp_path / name)
    assert not (tmp_path / "ran").exists()
    (tmp_path / "text").write_text("hello")
    (tmp_path / "short").write_bytes(path.read_bytes()[:1000])
    for name in ("text", "short", "absent"):
        with pytest.raises(UserError, match=r"^[^\n]+$"):
            read(tmp_path / name)


def test_fine_tuning_takes_weights_but_keeps_the_new_statistics(tmp_path: Path) -> None:
    given = make()
    given.record.config = {"model": {"name": "gaussian", "_target_": f"{__name__}.Gaussian"}}
    path = save(given, tmp_path / "a.ckpt")
    brighter = Batch(events().x * 10, events().cond)
    module = Gaussian(SPEC).fit_transform(Loader(brighter))
    scale = module.transform.scale.clone()
    fine_tune(module, path, allow=[__name__])
    assert torch.equal(module.transform.scale, scale)
    assert torch.equal(module.mean.weight, read(path)["state_dict"]["mean.weight"])
    with pytest.raises(IncompatibleError, match="entries differ"):
        fine_tune(make(critic=True), path, allow=[__name__])
