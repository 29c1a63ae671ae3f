"""Diffusion models of jets on real jets of the package's sample: short trainings, students, sizes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hydra.utils import get_class

from jet_toys import generator, jet_spec, jets, mass_distances, train
from simulacra.core import Batch, IncompatibleError, UserError
from simulacra.evaluation.build import build_model
from simulacra.models.clouds.cloud_diffusion import CloudDiffusion
from simulacra.models.clouds.cloud_student import CloudStudent
from simulacra.training.generative import GenerativeModule
from support import composed, save, spec_of

PARTICLES = 16
SHAPE = {
    "epic_jedi": "hidden=32,layers=2,latent=8,frequencies=4,solver.steps=25",
    "pc_jedi": "width=32,layers=2,heads=4,hidden=32,context=16,frequencies=4,solver.steps=25",
    "pc_droid": "width=32,layers=2,heads=4,hidden=32,context=16,frequencies=4,solver.steps=12",
    "fpcd": "width=32,layers=2,heads=2,hidden=32,embedding=16,frequencies=4,solver.steps=32",
}
STEPS = 200


def config(model: str, shape: str, *more: str) -> dict:
    """A model of the configuration with a shape of our own."""
    changed = [
        f"model.{entry}" if "." in entry else f"model.net.{entry}" for entry in shape.split(",")
    ]
    rates = ["model.numbers.hidden=32", "model.optim.optimizer.lr=4.0e-3"]
    return composed("model", f"model={model}", "model/size=small", *rates, *changed, *more)


def built(settings: dict, seed: int = 0) -> CloudDiffusion:
    torch.manual_seed(seed)
    module = build_model({"model": settings}, jet_spec(PARTICLES))
    assert isinstance(module, CloudDiffusion)
    return module


def raw(module: GenerativeModule, truth: Batch) -> Batch:
    """Points as the network makes them."""
    module.transform.calibrate = False
    return module.sample(truth.conditions(), generator=generator(5))


def scores(module: GenerativeModule, truth: Batch) -> tuple[float, float, float]:
    """Largest W1 of the relative mass of either class [1e-3]: right, wrong and shuffled classes."""
    made, classes = raw(module, truth), truth.cond["jet_class"][:, 0]
    shuffled = classes[torch.randperm(len(classes), generator=generator(6))]
    right, wrong, mixed = (
        max(mass_distances(made, truth, wanted)) for wanted in (classes, 1 - classes, shuffled)
    )
    return right, wrong, mixed


LIMITS = {
    "epic_jedi": 26.0,
    "pc_jedi": 26.0,
    "pc_droid": 20.0,
    "fpcd": 20.0,
}
"""Largest W1 of the relative mass of either class [1e-3], of points as the networks make them, about five
deviations above what seeds 0 to 4 gave: epic_jedi 16.0, 18.5, 15.8, 17.5, 15.0; pc_jedi 19.3, 14.9, 14.5,
13.6, 16.8; pc_droid 12.0, 12.9, 12.6, 14.0, 14.6; fpcd 12.6, 11.7, 10.9, 10.9, 11.9. Truth against truth
gives 2. The network of pc_droid_transformer is that of pc_jedi."""
CONTROL = 0.75
"""The same over the smallest of an untrained network's, the other class's and that of shuffled classes, at
most: the same seeds gave 0.33 to 0.53."""


@pytest.mark.smoke
@pytest.mark.parametrize("model", SHAPE)
def test_a_short_training_makes_jets_of_the_right_class(model: str) -> None:
    module = built(config(model, SHAPE[model]))
    events, truth = jets(0, 3500, PARTICLES), jets(3500, 5000, PARTICLES)
    module.fit_transform([events])
    untrained, _, _ = scores(module, jets(3500, 3800, PARTICLES))
    train(module, events, STEPS, 128)
    right, wrong, mixed = scores(module, truth)
    assert right < LIMITS[model]
    assert right < CONTROL * min(untrained, wrong, mixed)


NARROW = "width=24,layers=1,heads=2,hidden=24,frequencies=4"
DISTILLED = {
    "pc_droid_cm": (
        "pc_droid",
        f"{NARROW},context=12,",
        "solver.steps=12",
        "distillation.steps=12",
    ),
    "fpcd_student": (
        "fpcd",
        f"{NARROW},embedding=12,",
        "solver.steps=8",
        "distillation.steps=4",
    ),
}


def distilled(student: str, seed: int, tmp_path: Path) -> float:
    """Distance of the student's points from the teacher's of the same noise, after over before."""
    teacher, shape, many, few = DISTILLED[student]
    events = jets(0, 2000, PARTICLES)
    example = config(teacher, shape + many)
    taught = built(example, seed).fit_transform([events])
    train(taught, events, 120, 128)
    path = save(taught.eval(), example, tmp_path)
    learns = built({**config(student, shape + few), "teacher": str(path)}, seed + 1)
    learns.fit_transform([events])
    cond = jets(2000, 2200, PARTICLES).conditions()
    wanted = taught.sample(cond, generator=generator(5)).x
    found = [learns.sample(cond, generator=generator(5)).x]
    (objective,) = learns.objectives().values()
    optimizer = torch.optim.Adam(objective.parameters, lr=1e-3)
    g = generator(4)
    learns.train()
    for _ in range(100):
        chosen = torch.randint(0, len(events), (128,), generator=g)
        optimizer.zero_grad()
        objective.loss(learns.encode(events[chosen], g), g)["loss"].backward()
        optimizer.step()
        if objective.after is not None:
            objective.after()
    found.append(learns.sample(cond, generator=generator(5)).x)
    before, after = ((x - wanted).square().mean().sqrt() for x in found)
    return float(after / before)


DISTILLED_LIMIT = {"pc_droid_cm": 0.75, "fpcd_student": 0.45}
"""Seeds 0 to 4 gave 0.41, 0.36, 0.48, 0.51, 0.37 and 0.28, 0.33, 0.30, 0.28, 0.26.
The limits lie more than four deviations up."""


@pytest.mark.smoke
@pytest.mark.parametrize("student", DISTILLED)
def test_a_student_comes_closer_to_its_teacher_in_few_steps(student: str, tmp_path: Path) -> None:
    assert distilled(student, 0, tmp_path) < DISTILLED_LIMIT[student]


def test_a_student_of_another_process_or_family_is_refused(tmp_path: Path) -> None:
    events = jets(0, 200, PARTICLES)
    shape = f"{NARROW},context=12,distillation.steps=4"
    example = config("pc_droid", f"{NARROW},context=12,solver.steps=4")
    path = save(built(example).fit_transform([events]), example, tmp_path)
    other = config("pc_droid_cm", shape, "model.process.sigma_max=40.0")
    with pytest.raises(
        IncompatibleError, match=r"process or transform\.seen of student and teacher differ"
    ):
        built({**other, "teacher": str(path)}).fit_transform([events])
    example = config("pc_jedi", SHAPE["pc_jedi"])
    path = save(built(example).fit_transform([events]), example, tmp_path)
    with pytest.raises(IncompatibleError, match=r"learns from a PCDroid, but .* holds a PCJeDi"):
        built({**config("pc_droid_cm", shape), "teacher": str(path)}).fit_transform([events])
    straight = composed("model", "model=epic_fm")["process"]
    with pytest.raises(UserError, match="needs a preconditioned denoiser"):
        built({**config("pc_droid_cm", shape), "process": straight})


def test_the_average_follows_and_samples_alone() -> None:
    events = jets(0, 100, PARTICLES)
    module = built(
        config("pc_droid_cm", f"{NARROW},context=12,distillation.steps=4")
    ).fit_transform([events])
    assert isinstance(module, CloudStudent)
    cond = events[:8].conditions()
    first = module.sample(cond, generator=generator(1)).x
    with torch.no_grad():
        for parameter in module.net.parameters():
            parameter.add_(0.1)
    assert torch.equal(module.sample(cond, generator=generator(1)).x, first)
    before = [p.clone() for p in module.target.parameters()]
    (objective,) = module.objectives().values()
    assert objective.after is not None
    objective.after()
    for old, mean, now in zip(
        before, module.target.parameters(), module.net.parameters(), strict=True
    ):
        torch.testing.assert_close(mean, 0.95 * old + 0.05 * now)


def test_progressive_students_form_a_chain(tmp_path: Path) -> None:
    events = jets(0, 100, PARTICLES)
    chain = [
        ("fpcd", "solver.steps=8"),
        ("fpcd_student", "distillation.steps=4"),
        ("fpcd_student", "distillation.steps=2"),
    ]
    path = None
    for number, (model, steps) in enumerate(chain):
        settings = config(model, f"{NARROW},embedding=12,{steps}")
        if path is not None:
            settings["teacher"] = str(path)
        module = built(settings, seed=number).fit_transform([events])
        (tmp_path / str(number)).mkdir()
        path = save(module, settings, tmp_path / str(number))
        latent = module.encode(events, generator())
        (objective,) = module.objectives().values()
        assert bool(objective.loss(latent, generator())["loss"].isfinite())
        assert module.solver.evaluations == int(steps.split("=")[1])


SOLVERS = ["ddim", "ddpm", "karras_heun", "dpmpp_2m", "euler", "heun", "midpoint", "rk4"]


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("model", ["epic_fm", "epic_jedi", "pc_droid", "fpcd"])
def test_any_solver_samples_any_of_them(model: str, solver: str) -> None:
    settings = composed("model", f"model={model}", "model/size=tiny")
    events = jets(0, 60, PARTICLES)
    step = {**composed("solver", f"+solver={solver}"), "steps": 3}
    module = built({**settings, "solver": step}).fit_transform([events])
    made = module.sample(events[:5].conditions(), generator=generator(1))
    assert bool(made.x.isfinite().all())


def test_networks_of_all_pairs_refuse_clouds_that_would_not_fit_into_memory() -> None:
    for model in ("pc_jedi", "fpcd", "fpcd_student", "pc_droid_transformer", "mpgan", "gapt"):
        reason = get_class(composed("model", f"model={model}")["_target_"]).accepts(
            spec_of("ds3", "cloud")
        )
        assert "quadratic in the number of points" in str(reason)
