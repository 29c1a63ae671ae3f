"""Help, completion and suggestions say what stands in the configuration files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from simulacra.cli import comments, completion, help
from simulacra.cli.arguments import argument
from simulacra.cli.described import Described
from simulacra.cli.main import COMMANDS, main
from simulacra.core import UserError
from simulacra.evaluation.config import folder
from support import config_names

TEXT = """\
# What the file is.
# It has two lines.
# @package _global_
defaults:
  - _self_
  - solver: null   # of flows
plain: "a # b"     # with a # in quotes
# Above,
# in two lines.
above: 1
long: 2            # begins
                   # and goes on
nested:            # of the part
  inner: {a: 1}    # of the inner one
  bare: 3
"""


def test_a_comment_belongs_to_the_key_beside_or_below_it() -> None:
    found = comments.parse(TEXT)
    assert found.about == "What the file is. It has two lines."
    assert found.keys == {
        "defaults.solver": "of flows",
        "plain": "with a # in quotes",
        "above": "Above, in two lines.",
        "long": "begins and goes on",
        "nested": "of the part",
        "nested.inner": "of the inner one",
    }


def test_a_file_that_is_none_has_no_comments(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: [1")
    assert comments.read(tmp_path / "a.yaml") == comments.Comments()
    assert comments.read(tmp_path / "b.yaml") == comments.Comments()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_every_key_of_a_command_with_its_comment(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main([command, "--help"])
    shown = " ".join(capsys.readouterr().out.replace("#", " ").split())
    said = comments.read(folder("conf") / f"{command}.yaml")
    assert said.about in shown
    keys = {key: text for key, text in said.keys.items() if not key.startswith("hydra")}
    assert keys
    for key, text in keys.items():
        assert key.rpartition(".")[2] in shown
        assert " ".join(text.replace("#", " ").split()) in shown, key


def test_help_shows_what_a_command_takes_and_nothing_else(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["sample", "--help"])
    assert "\n  solver=null" in (shown := capsys.readouterr().out)
    for other in ("experiment", "trainer", "callbacks", "hydra", "_target_"):
        assert other not in shown
    main(["train", "-h"])
    shown = capsys.readouterr().out
    for group in ("callbacks", "data", "evaluation", "model", "model/size", "sweeps", "trainer"):
        assert f"\n  {group}=" in shown
    for name in config_names("experiment"):
        assert name in shown


def test_a_key_without_a_comment_is_told_by_the_docstring() -> None:
    assert "callbacks.ema.decay" not in Described("train")._texts
    assert Described("train").texts["callbacks.ema.decay"].startswith("Share of the old average")
    # documented once, in the class that others derive from
    text = argument("simulacra.dynamics.solvers.Heun", "steps")
    assert text == argument("simulacra.dynamics.solvers.FixedStepSolver", "steps") != ""
    assert argument("torch.optim.AdamW", "lr") == argument("simulacra.nothing.X", "y") == ""


def test_help_follows_what_is_chosen_and_what_a_user_adds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "conf" / "trainer").mkdir(parents=True)
    (tmp_path / "conf" / "trainer" / "mine.yaml").write_text(
        "# The trainer of our cluster.\ndefaults: [cpu]\ncolour: red   # of the bar\n"
    )
    monkeypatch.chdir(tmp_path)
    main(["train", "trainer=mine", "--help", "trainer"])
    shown = capsys.readouterr().out
    assert shown.startswith("trainer=mine\n")
    assert "mine" in shown
    assert "# The trainer of our cluster." in shown
    assert "# of the bar" in shown
    assert "max_epochs: 12" in shown
    assert "caloinn" not in shown


def test_a_topic_that_is_none_is_refused_with_what_is_close(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no group or key 'modle': did you mean model"):
        help.text("train", [], ["modle"])


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("simulacra sam", ["sample"]),
        ("simulacra ", [*COMMANDS, "--help", "--version"]),
        ("simulacra train model=calod", None),
        ("simulacra train trainer.max_e", ["trainer.max_epochs="]),
        ("simulacra train evalua", ["evaluation.", "evaluation="]),
        ("simulacra train model/size=ti", ["model/size=tiny"]),
        ("simulacra train -m model=vit,caloin", ["model=vit,caloinn"]),
        ("simulacra train trainer.compile=t", ["trainer.compile=true"]),
        ("simulacra train trainer.devices=", ["trainer.devices=1"]),
        ("simulacra train --mul", ["--multirun"]),
        ("simulacra train model=resnet tr", []),
        ("simulacra train --help traine", ["trainer"]),
        ("simulacra nothing mod", []),
        ("simulacra sample sol", ["solver="]),
    ],
)
def test_words_are_completed_to_commands_keys_and_choices(
    line: str, found: list[str] | None
) -> None:
    if found is None:
        names = [name for name in config_names("model") if name.startswith("calod")]
        found = [f"model={name}" for name in names]
    assert completion.candidates(line, list(COMMANDS)) == found


def test_keys_of_the_chosen_model_are_completed() -> None:
    line = "simulacra train model=caloclouds2 data=ild_cloud model.cells"
    assert completion.candidates(line, list(COMMANDS)) == []
    line = line.replace("cells", "")
    keys = completion.candidates(line, list(COMMANDS))
    assert f"model.{'given'}=" in keys
    assert keys != completion.candidates("simulacra train model.", list(COMMANDS))


def test_paths_are_completed_to_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "rust.ckpt").touch()
    (tmp_path / ".hidden").touch()
    monkeypatch.chdir(tmp_path)
    take = completion.candidates
    assert take("simulacra sample checkpoint=", ["sample"]) == [
        "checkpoint=runs/",
        "checkpoint=rust.ckpt",
    ]
    assert take("simulacra sample checkpoint=rus", ["sample"]) == ["checkpoint=rust.ckpt"]
    assert take(f"simulacra sample checkpoint={tmp_path}/r", ["sample"]) == [
        f"checkpoint={tmp_path}/runs/",
        f"checkpoint={tmp_path}/rust.ckpt",
    ]


def test_completion_answers_as_shells_ask(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = "simulacra train model=caloi nothing behind the cursor"
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(line.index(" nothing")))
    main(["-sc", "query=bash"])
    assert capsys.readouterr().out == "model=caloinn \n"
    main(["-sc", "query=fish"])
    assert capsys.readouterr().out == "model=caloinn\n"
    with pytest.raises(SystemExit, match="1"):
        main(["-sc", "install=tcsh"])
    assert "-sc takes one of install=bash" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_with_what_is_installed(tmp_path: Path) -> None:
    program = tmp_path / "simulacra"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m simulacra "$@"\n')
    program.chmod(0o755)
    script = """
        eval "$(simulacra -sc install=bash)"
        complete -p simulacra
        for COMP_LINE in "simulacra trai" "simulacra train model=caloi"; do
            COMP_POINT=${#COMP_LINE}
            _simulacra_complete simulacra
            printf '[%s]' "${COMPREPLY[@]}"
        done
    """
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        check=True,
    )
    assert "-F _simulacra_complete simulacra" in done.stdout
    assert done.stdout.endswith("[train ][caloinn ]")  # bash itself knows what stands before =


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "code", "unwanted"),
    [
        (["--version"], 0, ["torch", "hydra", "omegaconf"]),
        (["trian"], 1, ["torch", "hydra", "omegaconf"]),
        (["--help"], 0, ["torch", "pytorch_lightning"]),
        (["train", "--help"], 0, ["torch", "pytorch_lightning"]),
        (["-sc", "query=bash"], 0, ["torch", "pytorch_lightning"]),
        (["train", "modle=vit"], 1, ["torch", "pytorch_lightning"]),
    ],
)
def test_what_needs_no_torch_does_not_import_it(
    line: list[str], code: int, unwanted: list[str], tmp_path: Path
) -> None:
    program = (
        "import sys\nfrom simulacra.cli.main import main\n"
        f"try:\n    main({line!r})\n    code = 0\nexcept SystemExit as stop:\n    code = stop.code\n"
        f"found = [name for name in {unwanted!r} if name in sys.modules]\n"
        f"sys.exit(f'{{code}} {{found}}' if code != {code} or found else 0)\n"
    )
    environment = {**os.environ, "COMP_LINE": "simulacra train mod", "COMP_POINT": "19"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []  # a failed start leaves nothing


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("trian", "there is no command 'trian': did you mean train?"),
        ("train trainer.max_epoch=3", "did you mean trainer.max_epochs or trainer.max_steps"),
        ("train modle=caloinn", "there is no key modle: did you mean model?"),
        ("train modl/size=tiny", "there is no key modl/size: did you mean model/size"),
        ("train model=calo_inn", "there is no model=calo_inn: did you mean caloinn"),
        ("train -m model=calo_inn,vit", "there is no model=calo_inn: did you mean caloinn"),
        ("train model.cells.block=3", "did you mean model.cells.blocks?"),
        ("train init.colour=3", "there is no key init.colour: init has checkpoint, parts, stat"),
        ("train init.colour=3", "(+init.colour=3 would add it)"),
        ("train hydra/launcher=jobib", "there is no hydra/launcher=jobib: did you mean joblib?"),
        ("sample sovler=heun", "there is no key sovler: did you mean solver?"),
    ],
)
def test_what_is_misspelt_is_answered_by_what_is_close(
    line: str,
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="1"):
        main(line.split())
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not list(tmp_path.glob("outputs/*/*/*"))
