"""The README's commands do what it says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from simulacra.cli.main import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SMALL = [
    "debug=fast",
    "trainer.max_epochs=1",
    "trainer.max_steps=4",
    "logger=csv",
    "evaluation.draw=false",
]
SMALL += [
    "evaluation.events=100",
    "callbacks.physics.draw=false",
    "data.limit=64",
    "data.batch_size=32",
]


def blocks() -> list[list[str]]:
    """Lines of the shell blocks."""
    parts = README.split("```bash\n")[1:]
    return [part.split("```")[0].strip().splitlines() for part in parts]


def commands() -> list[list[str]]:
    """The commands behind the set-up, as lists of words without their comments."""
    return [shlex.split(line, comments=True) for block in blocks()[2:] for line in block]


def test_two_commands_do_all_the_set_up_and_the_second_is_what_continuous_integration_runs() -> (
    None
):
    first, second = blocks()[:2]
    assert first == ["pip install -e . && simulacra train"]
    assert len(second) == 1
    install, test = second[0].split(" && ")
    script = (ROOT / ".ci/run").read_text()
    assert install.removeprefix("pip install") in script
    assert f"\n{test}\n" in script


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small training in a folder of its own, and showers of it; commands may run in any order."""
    folder = tmp_path_factory.mktemp("readme")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        main(["train", "model/size=tiny", *SMALL, f"hydra.run.dir={folder / 'run'}"])
        given = f"checkpoint={folder / 'run' / 'checkpoints' / 'best.ckpt'}"
        main(["sample", given, "n=200", f"output={folder / 'showers.hdf5'}"])
    return folder / "run"


def teacher(folder: Path) -> Path:
    """A training that a student can learn from."""
    run = folder / "teacher"
    main(["train", "model=caloflow_teacher", "model/size=tiny", *SMALL, f"hydra.run.dir={run}"])
    return run


def reweighter(folder: Path) -> Path:
    """A training whose weights can be applied."""
    run = folder / "reweighter"
    main(["train", "model=dctrgan", "data=pair", *SMALL, f"hydra.run.dir={run}"])
    return run


@pytest.mark.parametrize(
    "words",
    [words for words in commands() if words[0] == "simulacra"],
    ids=lambda words: "_".join(words[:3]),
)
def test_a_command_of_the_readme_runs(
    words: list[str], run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(run.parent)
    test_file = ROOT / "src/simulacra/data/embedded/ds1_photons/dataset_1_photons_2.hdf5"
    replaced = {
        "RUN": str(run),
        "TEST.hdf5": str(test_file),
        "outputs/train/*/*": f"{run.parent}/*",
    }
    arguments = words[1:]
    if any("TEACHER" in word for word in arguments):
        replaced = {"TEACHER": str(teacher(run.parent))}
        arguments += ["model/size=tiny"]
    if any("REWEIGHTER" in word for word in arguments):
        replaced |= {"REWEIGHTER": str(reweighter(run.parent))}
    for name, value in replaced.items():
        arguments = [word.replace(name, value) for word in arguments]
    if arguments[:1] == ["train"] and not any(word.startswith("resume=") for word in arguments):
        sweep = "-m" in arguments or any(word.startswith("sweeps=") for word in arguments)
        arguments += SMALL if not sweep else [*SMALL, "model/size=tiny"]
    if arguments[:1] == ["evaluate"]:
        arguments += ["evaluation.events=100", "evaluation.draw=false", "evaluation=quick"]
    if arguments[:1] == ["sample"]:
        arguments += ["overwrite=true"]  # what the fixture left
    if arguments[:1] == ["produce"]:
        arguments += ["n=4"]
    if arguments[:1] == ["benchmark"]:
        arguments += ["batch_sizes=[1,20]", "repeats=2"]
    main(arguments)
    printed = capsys.readouterr().out.strip().splitlines()
    assert printed


def test_the_table_names_models_and_data_sets_that_there_are() -> None:
    header, _, *rows = [
        line.split("|")[1:-1] for line in README.splitlines() if line.startswith("|")
    ]
    data = [name.strip() for cell in header[2:] for name in cell.split(",")]
    models = [name for row in rows for name in re.findall(r"`(\w+)`", row[0])]
    assert len(models) > 20
    for group, names in (("model", models), ("data", data)):
        assert not [name for name in names if not (ROOT / f"conf/{group}/{name}.yaml").is_file()]
