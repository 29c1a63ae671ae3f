"""A table of one's own from configuration alone: trained, sampled and judged, with weights and conditions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from simulacra.cli.main import main
from table_toys import COLUMNS, form, rows

FAST = [
    "model/size=tiny", "debug=fast", "logger=csv", "data.batch_size=64", "trainer.max_steps=4",
    "callbacks.physics.draw=false", "evaluation.draw=false", "evaluation.events=200",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of all kinds and a configuration that names their columns."""
    path = tmp_path_factory.mktemp("tables")
    for number, suffix in enumerate(("csv", "parquet", "h5")):
        form().write(path / f"rows.{suffix}", rows(600, number))
    mine = {
        "name": "mine",
        "_target_": "simulacra.data.table.TableData",
        "title": "mine",
        "columns": COLUMNS,
        "root": str(path),
        "files": {"train": ["rows.csv"], "val": None, "test": ["rows.h5"]},
        "batch_size": 256,
        "seed": "${seed}",
    }
    (path / "conf" / "data").mkdir(parents=True)
    OmegaConf.save(OmegaConf.create(mine), path / "conf" / "data" / "mine.yaml")
    return path


@pytest.mark.parametrize("model", [pytest.param("table_fm", marks=pytest.mark.grid), "table_flow"])
def test_a_table_of_ones_own_is_trained_sampled_and_judged(
    model: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    run = folder / model
    main(["train", "data=mine", f"model={model}", *FAST, f"hydra.run.dir={run}"])
    checkpoint = f"checkpoint={run / 'checkpoints' / 'best.ckpt'}"
    made = folder / f"{model}.parquet"
    main(["sample", checkpoint, "conditions=rows.h5", f"output={made}"])
    events, asked = form().read(made), rows(600, 2)
    assert torch.equal(events.cond["mode"], asked.cond["mode"])
    assert torch.equal(events.cond["energy"], asked.cond["energy"])
    main(
        ["evaluate", "data=mine", "reference=rows.h5", f"generated={made}", "evaluation=quick",
         "evaluation.draw=false", "evaluation.events=300", f"output={folder / 'judged'}", "overwrite=true"]
    )  # fmt: skip
    figures = json.loads((folder / "judged" / "metrics.json").read_text())
    assert figures["test/classifier/boosted/auc"] > 0.55  # after four steps


def test_a_file_is_checked(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    main(["evaluate", "data=mine", "reference=rows.parquet"])
    assert "600 events" in capsys.readouterr().out


def test_a_table_without_files_asks_for_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit):
        main(
            [
                "train",
                "data=mine",
                "model=table_fm",
                "data.files.train=null",
                "data.files.test=null",
            ]
        )
    assert "mine has no public files: name yours with data.files.train" in capsys.readouterr().err
