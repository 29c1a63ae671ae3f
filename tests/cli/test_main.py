from __future__ import annotations

from pathlib import Path

import pytest

from simulacra.cli.main import COMMANDS, in_place, main
from simulacra.core import UserError
from simulacra.evaluation.config import choices, folder, without_nothing
from support import config_names


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    code = stopped.value.code
    return (code if isinstance(code, int) else 0), *capsys.readouterr()


def test_alone_it_lists_commands_models_and_data_sets(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    text = capsys.readouterr().out
    for name in (*COMMANDS, *choices("model"), *choices("data")):
        assert name in text


def test_an_unknown_command_is_refused_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "trian")
    assert code == 1
    assert out == ""
    assert err.startswith("simulacra: there is no command 'trian'")
    assert err.count("\n") == 1


def test_an_unknown_override_is_refused_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "train", "model.nothing=3")
    assert code == 1
    assert "model.nothing" in err
    assert err.count("\n") == 1


def test_an_unknown_choice_names_those_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "train", "model=resnet")
    assert code == 1
    assert "caloinn" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "line",
    [
        "train model=3",
        "train -m model=caloinn,3",
        "train model=null",
        "train model=[caloinn,3]",
        "train model=[[caloinn]]",
    ],
)
def test_a_choice_that_is_no_name_is_refused_in_one_sentence(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="1"):
        main(line.split())
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"what is chosen for model is one of {config_names('model')[0]}, " in said


def groups() -> list[str]:
    """Every group of the configuration, of sweeps and of Hydra."""
    base = folder("conf")
    own = {str(path.parent.relative_to(base)) for path in base.rglob("*.yaml")} - {"."}
    hydra = {"hydra", "hydra/sweeper", "hydra/help", "hydra/output", "hydra/env"}
    return sorted(own | hydra | {"sweeps", "data/first", "data/second"})


@pytest.mark.parametrize("value", ["3", "true", "1.5", "nan", "[1]", "[tiny,3]", "[null]", "[[x]]"])
def test_no_group_takes_what_is_no_name(value: str) -> None:
    assert len(groups()) > 50
    for group in groups():
        with pytest.raises(UserError, match=rf"^{group}=.*: what is chosen for {group} is "):
            without_nothing([f"{group}={value}"], "train")


@pytest.mark.parametrize("command", COMMANDS)
def test_null_is_taken_of_groups_of_which_a_command_chooses_nothing(command: str) -> None:
    line = (folder("conf") / f"{command}.yaml").read_text()
    for group in groups():
        if f"\n  - {group}: null" in line:
            assert without_nothing([f"{group}=null", f"{group}=x"], command) == [f"{group}=x"]
        else:
            with pytest.raises(UserError, match=f"what is chosen for {group} is "):
                without_nothing([f"{group}=null"], command)


def test_nothing_may_be_chosen_where_nothing_is_chosen_anyway(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="1"):
        main(["sample", "solver=null"])
    assert capsys.readouterr().err == "simulacra: sampling needs checkpoint=FILE and output=FILE\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["sample", "=3"], "'=3' names no key"),
        (["sample", "--cfg", "nothing"], "invalid choice: 'nothing'"),
        (["train", "paths.run=" + "d/" * 300], "more than 200 folders within each other"),
        (["train", "+model.colour=red"], "CaloINN cannot be built: it takes no colour"),
    ],
)
def test_lines_that_make_no_sense_are_refused_in_one_sentence(
    line: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="1"):
        main(line)
    found = [
        text for text in capsys.readouterr().err.splitlines() if text.startswith("simulacra: ")
    ]
    assert len(found) == 1
    assert said in found[0]


def test_a_pair_that_does_not_fit_is_told_what_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "more" / "model"
    folder.mkdir(parents=True)
    (folder / "gauss.yaml").write_text("defaults: [caloinn@_here_, _self_]\nname: gauss\n")
    words = ("--config-dir", str(folder.parent), "model=gauss", "data=jetnet30")
    code, _, err = run(capsys, "train", *words)
    assert code == 1
    assert err.count("\n") == 1
    assert "data for gauss: calogan, ds1_photons" in err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "expected the node content, but found '<stream end>' in \""),
        ("defaults:", "Invalid defaults list in 'data/mine', defaults must be a list"),
        ("defaults: [3]", "Unsupported type in defaults : int"),
        ("defaults: [mine@_here_]", "a configuration file includes itself"),
    ],
)
@pytest.mark.parametrize("words", [["data=mine"], ["model=lagan", "data=ds1_photons"]], ids=len)
def test_a_mistake_in_a_users_configuration_is_one_sentence(
    words: list[str],
    text: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Chosen, or only met where a pair does not fit and all data sets are looked at."""
    (tmp_path / "conf" / "data").mkdir(parents=True)
    (tmp_path / "conf" / "data" / "mine.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, "train", *words)
    assert code == 1
    assert err.startswith("simulacra: ")
    assert err.count("\n") == 1
    assert said in err
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["mine.yaml"]


def test_resuming_happens_in_place() -> None:
    assert in_place(["trainer.max_epochs=3"]) == []
    assert in_place(["resume=a/b"]) == ["hydra.run.dir='a/b'", "hydra.output_subdir=null"]
    assert in_place(["resume='it\\'s'"]) == ["hydra.run.dir='it\\'s'", "hydra.output_subdir=null"]
