"""The README's commands do what it says."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

import doc_pages
from simulacra.cli.main import main

ROOT = doc_pages.ROOT
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = [block for block in doc_pages.blocks(README) if block.runs]
SHELL = [block for block in BLOCKS if block.language == "bash"]
COMMANDS = [block.words(line) for block in SHELL[2:] for line in block.text.splitlines()]
"""Those behind the set-up, with what makes them small."""


def test_two_commands_do_all_the_set_up_and_the_second_is_what_continuous_integration_runs() -> (
    None
):
    first, second = (block.text.splitlines() for block in SHELL[:2])
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
        graph = ("model.energies=null", "model.cells.blocks=1")  # a small one
        main(["train", *doc_pages.SMALL["train"], *graph, f"hydra.run.dir={folder / 'run'}"])
        given = f"checkpoint={folder / 'run' / 'checkpoints' / 'best.ckpt'}"
        main(["sample", given, "n=200", f"output={folder / 'showers.hdf5'}"])
    return folder / "run"


@pytest.mark.parametrize(
    "words",
    [words for words in COMMANDS if words[0] == "simulacra"],
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
        "seed=0,1": "seed=0",
        "data=ild": "data=ild_10x10",  # a ninth of the cells
        "outputs/train/*/*": f"{run.parent}/*",
    }
    arguments = words[1:]
    if any(word.startswith("resume=") for word in arguments):
        arguments = [word for word in arguments if word not in doc_pages.SMALL["train"]]
    for name, value in replaced.items():
        arguments = [word.replace(name, value) for word in arguments]
    if arguments[:1] == ["sample"]:
        arguments += ["overwrite=true"]  # what the fixture left
    if arguments[:1] == ["study"]:
        arguments += ["study.replicas=1", "study.null_test=false"]
    main(arguments)
    printed = capsys.readouterr().out.strip().splitlines()
    assert printed


def test_its_python_runs() -> None:
    (block,) = (block for block in BLOCKS if block.language == "python")
    module = ModuleType("readme")
    exec(block.text, module.__dict__)
    assert 0.3 < module.found.metrics["test/classifier/boosted/auc"] < 0.7


def test_its_links_lead_to_files() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert len(links) > 8
    assert not [link for link in links if not (ROOT / link).is_file()]


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 100
