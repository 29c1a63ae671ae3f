"""Models of tables on rows with every kind of column."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch

import unfolding_toys
from simulacra.core import Batch, Field, IncompatibleError, Spec, UserError
from simulacra.dynamics.density import Density
from simulacra.dynamics.diffusion import flow_matching
from simulacra.dynamics.flows import coupling_flow
from simulacra.dynamics.jet_level import JetLevelFlow
from simulacra.dynamics.solvers import Midpoint
from simulacra.dynamics.splines import RationalQuadratic
from simulacra.metrics.classifiers.boosted import boosted
from simulacra.models.tables.table import TableModel
from simulacra.models.tables.table_flow import TableFlow
from simulacra.models.tables.table_fm import TableFM
from simulacra.nn.timed_mlp import TimedMLP
from simulacra.nn.variational import Bayesian, divergence
from simulacra.physics.table import TableObservables
from simulacra.training.checkpoint import build
from simulacra.training.optim import Optim, warmup_cosine
from simulacra.transforms.table import TableTransform
from support import config_names, tiny
from table_toys import form, rows

SPEC = form().spec
OPTIM = Optim(partial(torch.optim.AdamW, lr=3e-3), partial(warmup_cosine, warmup=0.05))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fm(spec: Spec = SPEC, given: list[str] | None = None, hidden: int = 64) -> TableFM:
    net = partial(TimedMLP, hidden=hidden, blocks=2, frequencies=4)
    return TableFM(spec, given, partial(TableTransform), net, flow_matching(), Midpoint(10), OPTIM)


def flow(spec: Spec = SPEC, given: list[str] | None = None, hidden: int = 64) -> TableFlow:
    density = partial(
        coupling_flow, blocks=4, spline=RationalQuadratic(6, 6.0), hidden=[hidden, hidden]
    )
    return TableFlow(spec, given, partial(TableTransform), density, OPTIM)


MODELS = pytest.mark.parametrize("make", [fm, flow])
Make = Callable[..., TableModel]


@MODELS
def test_rows_are_complete_and_can_be_written(make: Make, tmp_path) -> None:
    module = make(hidden=8).fit_transform([rows(300)])
    asked = rows(40, 5)
    made = module.sample(asked.conditions(), generator=generator())
    SPEC.validate(made)
    assert set(made.event) == {"hits", "kind"}
    for suffix in ("h5", "csv", "parquet"):
        form().write(tmp_path / f"a.{suffix}", made)
        read = form().read(tmp_path / f"a.{suffix}")
        assert torch.equal(read.x, made.x)
        assert torch.equal(read.event["kind"], made.event["kind"])


@MODELS
def test_event_fields_can_be_given(make: Make) -> None:
    module = make(given=["energy", "mode", "kind"], hidden=8).fit_transform([rows(300)])
    asked = rows(40, 5).conditions(module.given)
    made = module.sample(asked, generator=generator())
    assert torch.equal(made.event["kind"], asked.values["kind"])
    assert set(made.event) == {"hits", "kind"}


@MODELS
def test_only_tables_are_accepted(make: Make) -> None:
    with pytest.raises(IncompatibleError, match="it generates rows of tables, and x has events of"):
        make(Spec("x", "cloud", (3, 1), "", features=(Field("a"),)))


def test_a_coupling_flow_of_one_column_is_refused_in_one_sentence() -> None:
    spec = Spec("one", "table", (1,), "", features=(Field("a"),))
    fm(spec, hidden=8)
    with pytest.raises(UserError, match="a coupling flow needs at least two columns"):
        flow(spec, hidden=8)


def test_any_density_takes_the_place_of_the_flow() -> None:
    density = partial(JetLevelFlow, hidden=8, transforms=1, bins=4)
    module = TableFlow(SPEC, None, partial(TableTransform), density, OPTIM)
    module.fit_transform([rows(300)])
    assert len(module.sample(rows(5).conditions(), generator=generator())) == 5


@MODELS
def test_what_weighs_nothing_does_not_count(make: Make) -> None:
    module = make(hidden=8).fit_transform([rows(300)])
    latent = module.encode(rows(64, 4), generator(1))
    half = torch.cat([torch.ones(32), torch.zeros(32)])
    strange = torch.cat([latent.x["table"][:32], latent.x["table"][32:] + 50])
    one, two, all_of_it = (
        module.loss(replace(latent, x={"table": x}, weight=weight), generator(2))["loss"]
        for x, weight in (
            (latent.x["table"], half), (strange, half), (strange, torch.ones(64)),
        )
    )  # fmt: skip
    torch.testing.assert_close(one, two)
    assert float(all_of_it.detach()) > 2 * float(two.detach())


def bayesian(lr: float = 3e-3) -> TableFlow:
    density = partial(
        coupling_flow, blocks=2, spline=RationalQuadratic(4, 6.0), hidden=[8],
        bayesian=Bayesian(1.0, 0.1),
    )  # fmt: skip
    optim = Optim(partial(torch.optim.AdamW, lr=lr, weight_decay=0.1), None)
    return TableFlow(SPEC, None, partial(TableTransform), density, optim)


def test_a_posterior_adds_its_divergence_and_takes_the_place_of_weight_decay() -> None:
    torch.manual_seed(0)
    module = bayesian().fit_transform([rows(300)])
    latent = module.encode(rows(64, 4), generator(1))
    with module.evaluating():
        plain = module.density.loss(latent.x["table"], latent.cond, latent.weight)
        values = module.loss(latent)
    per_event = divergence(module.density) / 300
    torch.testing.assert_close(values["divergence"], per_event.detach())
    expected = plain + per_event / latent.x["table"].shape[1]
    torch.testing.assert_close(values["loss"], expected)
    (objective,) = module.objectives().values()
    groups = objective.optim.optimizer(objective.parameters).param_groups
    assert [group["weight_decay"] for group in groups] == [0.0]
    assert not flow(hidden=8).has_posterior


def test_networks_of_a_posterior_are_generators_of_their_own() -> None:
    torch.manual_seed(0)
    module = bayesian().fit_transform([rows(300)])
    asked = rows(40, 5).conditions()
    first, second = module.sample(asked, posterior_draws=2, generator=generator())
    assert not torch.equal(first.x, second.x)
    SPEC.validate(first)


def test_every_model_of_tables_has_a_card() -> None:
    import importlib

    for name in ("table_fm", "table_flow"):
        assert name in config_names("model")
        text = importlib.import_module(tiny(name)["_target_"].rpartition(".")[0]).__doc__ or ""
        for word in ("Generates:", "Conditions:", "Representation:", "Reference:"):
            assert word in text


LIMIT = 0.68
"""Largest area under the ROC curve after a short training. Seeds 0 to 4 gave 0.648 to 0.657 (fm) and 0.633 to
0.636 (flow), with a spread of 0.004; untrained ones 0.79 to 0.82, shuffled conditions 0.77 to 0.79."""


def auc(module: TableModel, truth: Batch, shuffled: bool = False) -> float:
    cond = truth.conditions()
    order = torch.randperm(len(truth), generator=generator(1))
    made = module.sample(cond[order] if shuffled else cond, generator=generator(3))
    made = replace(made, cond=truth.cond)
    observables = TableObservables(SPEC)
    return boosted(observables.features(truth), observables.features(made)).auc


def train(module: TableModel, events: Batch, steps: int) -> None:
    (objective,) = module.objectives().values()
    optimizer = objective.optim.optimizer(objective.parameters)
    assert objective.optim.scheduler is not None
    schedule = objective.optim.scheduler(optimizer, total_steps=steps)
    module.train()
    g = generator(7)
    for _ in range(steps):
        chosen = torch.randint(len(events), (256,), generator=g)
        loss = objective.loss(module.encode(events[chosen], g), g)["loss"]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(objective.parameters, 1.0)
        optimizer.step()
        schedule.step()
    module.eval()


@pytest.mark.smoke
@pytest.mark.parametrize(("make", "steps"), [(fm, 500), (flow, 300)])
def test_a_short_training_makes_rows_that_follow_their_conditions(make: Make, steps: int) -> None:
    torch.manual_seed(0)
    module = make().fit_transform([rows(6000, 1)])
    truth = rows(2000, 2)
    untrained = auc(module, truth)
    train(module, rows(6000, 1), steps)
    trained, shuffled = auc(module, truth), auc(module, truth, shuffled=True)
    assert trained < LIMIT
    assert min(untrained, shuffled) > LIMIT + 0.05


def test_the_density_is_all_that_is_trained() -> None:
    module = fm(hidden=8)
    assert isinstance(module.density, Density)
    (objective,) = module.objectives().values()
    assert {id(p) for p in objective.parameters} == {id(p) for p in module.parameters()}


def test_the_likelihood_of_rows_integrates_to_one_and_needs_an_exact_density() -> None:
    spec, batch = unfolding_toys.spec(), unfolding_toys.rows(3000)
    flow = build(tiny("table_flow"), spec).fit_transform([batch])
    assert isinstance(flow, TableFlow)
    axis = torch.linspace(-8, 8, 161)
    x = torch.cartesian_prod(axis, axis)
    asked = {name: value[:1].expand(len(x), 1) for name, value in batch.cond.items()}
    with torch.no_grad():
        found = flow.log_prob(Batch(x, asked)).double().exp()
    assert float(found.sum()) * 0.1**2 == pytest.approx(1, abs=0.02)
    with pytest.raises(UserError, match="does not know their density"):
        fm(spec).fit_transform([batch]).log_prob(batch[:2])
    periodic = build(tiny("table_flow"), SPEC).fit_transform([rows(200)])
    assert isinstance(periodic, TableFlow)
    with pytest.raises(UserError, match="rows with periodic columns have no density"):
        periodic.log_prob(rows(2))
