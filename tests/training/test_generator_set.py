"""One generator of many checkpoints: which serves what, gaps, overlaps, and events that rest on their own."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import pytest
import torch

import simulacra
from simulacra import data
from simulacra.cli.benchmark import benchmark
from simulacra.cli.evaluate import evaluate
from simulacra.cli.export import export
from simulacra.cli.sample import sample
from simulacra.core import IncompatibleError, UserError
from simulacra.evaluation.config import compose
from simulacra.training import served
from simulacra.training.checkpoint import build
from simulacra.training.generator_set import GeneratorSet
from support import composed, save

BORDER = 4096.0
ENERGIES = [256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 32768.0]


def member(folder: Path, energies: list[float], model: str = "bologan", seed: int = 0) -> Path:
    """A checkpoint of an untrained generator for a range of energies of the embedded sample."""
    folder.mkdir()
    changes = (
        "data=ds1_photons",
        f"data.energies=[[{energies[0]},{energies[1]}]]",
        "data.limit=300",
    )
    config = composed("data", *changes)
    events = data.build(config)
    torch.manual_seed(seed)
    made = composed("model", f"model={model}", "model/size=tiny")
    module = build(made, events.spec).fit_transform(events.fit_batches())
    module.record.trained_range = events.trained_range()
    module.record.conditions = events.trained_conditions(module.given)
    return save(module, made, folder, config)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Checkpoints for the lower and the upper half of the energies, of different models."""
    folder = tmp_path_factory.mktemp("parts")
    low = member(folder / "low", [256.0, 2048.0])
    return [low, member(folder / "high", [4096.0, 32768.0], "caloshowergan", seed=1)]


def listed(parts: list[Path], *ranges: list[float]) -> Path:
    """A file beside the folders of the checkpoints."""
    lines = [
        f"  - {{file: {path.parent.name}/{path.name}, serves: {{incident_energy: {list(ends)}}}}}"
        for path, ends in zip(parts, ranges, strict=False)
    ]
    file = parts[0].parents[1] / f"set{abs(hash(tuple(lines)))}.yaml"
    file.write_text("checkpoints:\n" + "\n".join(lines) + "\n")
    return file


@pytest.fixture(scope="module")
def both(parts: list[Path]) -> Path:
    return listed(parts, [256, BORDER], [BORDER, 32768])


def test_events_are_those_of_the_checkpoint_that_serves_them(parts: list[Path], both: Path) -> None:
    whole = simulacra.load(both)
    assert isinstance(whole, GeneratorSet)
    energy = torch.tensor(ENERGIES).repeat(3)[:, None]
    found = whole.sample({"incident_energy": energy}, seed=5)
    seed = int(torch.randint(2**62, (1,), generator=torch.Generator().manual_seed(5)))
    for number, path in enumerate(parts):
        mine = (energy[:, 0] >= BORDER) == bool(number)
        alone = simulacra.load(path).sample({"incident_energy": energy[mine]}, seed=seed + number)
        assert torch.equal(found.x[mine], alone.x)
        assert torch.equal(found.cond["incident_energy"][mine], energy[mine])
    whole.spec.validate(found)


def test_what_others_are_asked_for_changes_nothing_of_an_event(both: Path) -> None:
    whole = simulacra.load(both)
    energy = torch.tensor([256.0, 8192.0, 512.0, 16384.0])
    first = whole.sample({"incident_energy": energy}, seed=1)
    other = energy.clone()
    other[[1, 3]] = 32768.0
    again = whole.sample({"incident_energy": other}, seed=1)
    assert torch.equal(first.x[[0, 2]], again.x[[0, 2]])
    assert not torch.equal(first.x[[1, 3]], again.x[[1, 3]])
    fewer = whole.sample({"incident_energy": energy[[0, 2]]}, seed=1)
    assert torch.equal(first.x[[0, 2]], fewer.x)
    assert not torch.equal(first.x, whole.sample({"incident_energy": energy}, seed=2).x)


def test_the_border_belongs_to_the_upper_range_and_the_last_end_to_the_last(both: Path) -> None:
    found = served.choose(
        served.read(both),
        {"incident_energy": torch.tensor([[256.0], [4095.9], [4096.0], [32768.0]])},
    )
    assert found.tolist() == [0, 0, 1, 1]


def test_requests_outside_are_refused_in_one_sentence(both: Path) -> None:
    whole = simulacra.load(both)
    with pytest.raises(
        UserError,
        match=r"serves 1 of 2 events, the first has incident_energy=65536 \(256 to 32768 are",
    ):
        whole.sample({"incident_energy": torch.tensor([512.0, 65536.0])}, seed=1)


@pytest.mark.parametrize(
    ("ranges", "text"),
    [
        (
            ([256, 2048], [4096, 32768]),
            "serves incident_energy from 2048 to 4096: its ranges leave a gap",
        ),
        (([256, 8192], [4096, 32768]), "from 4096 to 8192: its ranges overlap"),
        (([4096, 256], [4096, 32768]), "from 4096 to 256, which is no range"),
    ],
)
def test_gaps_overlaps_and_empty_ranges_are_refused(
    parts: list[Path], ranges: tuple[list[float], ...], text: str
) -> None:
    with pytest.raises(UserError, match=text) as found:
        simulacra.load(listed(parts, *ranges))
    assert "\n" not in str(found.value)


def test_several_conditions_are_cut_into_boxes() -> None:
    def serving(**ranges: tuple[float, float]) -> served.Served:
        return served.Served(Path("a.ckpt"), ranges)

    four = [
        serving(energy=energy, angle=angle)
        for energy in ((0.0, 1.0), (1.0, 2.0))
        for angle in ((0.0, 5.0), (5.0, 9.0))
    ]
    served.check(four)
    values = {
        "energy": torch.tensor([[1.5], [0.5], [3.0]]),
        "angle": torch.tensor([[4.0], [9.0], [1.0]]),
    }
    assert served.choose(four, values).tolist() == [2, 1, -1]
    with pytest.raises(
        UserError, match="energy from 1 to 2 and angle from 5 to 9: its ranges leave a"
    ):
        served.check(four[:3])
    with pytest.raises(UserError, match="overlap"):
        served.check([*four, serving(energy=(0.0, 2.0), angle=(0.0, 1.0))])
    with pytest.raises(UserError, match="ranges of the same conditions"):
        served.check([*four, serving(energy=(2.0, 3.0))])


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("checkpoints: []", "needs one entry, 'checkpoints'"),
        ("members: []", "needs one entry, 'checkpoints'"),
        ("checkpoints: [{file: a.ckpt}]", "lacks 'serves'"),
        ("checkpoints: [{file: a.ckpt, serves: {e: [1, 2]}, run: rm}]", "unknown entry 'run'"),
        ("checkpoints: [{file: a.ckpt, serves: {e: [1, two]}}]", "expected a finite number"),
        ("checkpoints: !!python/name:os.system", "values are plain"),
        (
            "checkpoints: [{file: none.ckpt, serves: {incident_energy: [1, 2]}}]",
            "there is no checkpoint",
        ),
        ("[1, 2]", "expected a mapping"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: str, text: str) -> None:
    file = tmp_path / "set.yaml"
    file.write_text(content)
    with pytest.raises(UserError, match=text) as found:
        simulacra.load(file)
    assert str(file) in str(found.value) or "none.ckpt" in str(found.value)
    with pytest.raises(UserError, match="there is no checkpoint"):
        simulacra.load(tmp_path / "other.yaml")


def test_checkpoints_of_other_events_and_ranges_of_no_condition_are_refused(
    parts: list[Path], tmp_path: Path
) -> None:
    ds2 = data.build(composed("data", "data=ds2", "data.limit=40"))
    made = composed("model", "model=bologan", "model/size=tiny")
    strange = save(
        build(made, ds2.spec).fit_transform(ds2.fit_batches()),
        made,
        tmp_path,
        composed("data", "data=ds2"),
    )
    file = tmp_path / "set.yaml"
    pair = (
        "checkpoints: [{{file: {}, serves: {{{}: [1, 2]}}}}, {{file: {}, serves: {{{}: [2, 3]}}}}]"
    )
    file.write_text(pair.format(parts[0], "incident_energy", strange, "incident_energy"))
    with pytest.raises(IncompatibleError, match="made of checkpoints of the same events"):
        simulacra.load(file)
    file.write_text(pair.format(parts[0], "angle", parts[1], "angle"))
    with pytest.raises(UserError, match=r"ranges are those of incident_energy, .* got angle"):
        simulacra.load(file)


def test_it_remembers_what_its_members_were_trained_on_and_serve(both: Path) -> None:
    whole = simulacra.load(both)
    assert whole.record.trained_range == {"incident_energy": (256.0, 32768.0)}
    drawn = whole.draw_conditions(2000, torch.Generator().manual_seed(0)).values["incident_energy"]
    assert set(drawn.unique().tolist()) == set(ENERGIES)
    assert float((drawn < BORDER).float().mean()) == pytest.approx(0.5, abs=0.1)
    assert whole.record.config["model"]["name"] == "bologan+caloshowergan"


def test_it_is_not_trained_nor_exported_as_one(both: Path, tmp_path: Path) -> None:
    whole = simulacra.load(both)
    with pytest.raises(UserError, match="are trained one by one"):
        whole.objectives()
    for form in ("onnx", "safetensors"):
        output = tmp_path / form
        with pytest.raises(UserError, match=r"export them one by one"):
            export(compose("export", [f"checkpoint={both}", f"format={form}", f"output={output}"]))
        assert not output.exists()


def test_it_is_sampled_judged_and_timed_like_a_checkpoint(
    both: Path, parts: list[Path], tmp_path: Path
) -> None:
    target = tmp_path / "showers.hdf5"
    asked = ("n=64", f"conditions.incident_energy={ENERGIES}", f"output={target}")
    assert sample(compose("sample", [f"checkpoint={both}", *asked]))["events"] == 64
    with h5py.File(target) as file:
        assert file["incident_energies"][:8, 0].tolist() == ENERGIES
        members = json.loads(file.attrs["simulacra_members"])
    assert [Path(name).name for name in members] == [path.name for path in parts]
    out = tmp_path / "judged"
    overrides = (
        "evaluation=quick", "evaluation.events=64", "evaluation.draw=false", "scan.events=4", "scan.points=3",
    )  # fmt: skip
    figures = evaluate(
        compose(
            "evaluate", [f"reference={target}", f"checkpoint={both}", f"output={out}", *overrides]
        )
    )
    assert figures["test/events"] == 64
    timed = benchmark(
        compose(
            "benchmark",
            [f"checkpoint={both}", "batch_sizes=[8]", "repeats=2", f"output={tmp_path / 'timed'}"],
        )
    )
    assert timed["ms/8"] > 0
