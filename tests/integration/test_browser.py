"""The pages in a real browser: ``python -m pytest -m browser``; needs Chromium."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from simulacra.tracking.compare import groups
from simulacra.tracking.compare_page import write_compare
from simulacra.tracking.compare_published import published_runs
from simulacra.tracking.compare_runs import read_run
from simulacra.tracking.report import write_report
from toy_runs import QUALITY, write_run

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--enable-logging=stderr",
    "--hide-scrollbars",
    "--window-size=1300,1800",
)
PROBE = """<script>
addEventListener("load", () => {
  document.querySelector("CLICKED")?.click();
  setTimeout(() => {
    const seen = [...document.images].map((image) => image.naturalWidth).join();
    document.body.dataset.images = seen;
    document.body.dataset.loaded = performance.getEntriesByType("resource")
      .map((entry) => entry.name).filter((name) => !name.startsWith("data:")).join();
    document.body.dataset.hash = location.hash;
  });
});
</script></body>"""
"""Put at the end of a copy of a page: clicks a head, then notes what a reader would see."""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome on the path"),
]
Look = Callable[..., str]


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """Open a page and return its document as the browser sees it; fails on any message of the console."""

    def open_page(path: Path, *, hash: str = "", click: str = "") -> str:
        if click:
            text = path.read_text(encoding="utf-8").replace(
                "</body>", PROBE.replace("CLICKED", click)
            )
            path = path.with_name(f"probed_{path.name}")
            path.write_text(text, encoding="utf-8")
        shot = tmp_path / "shot.png"
        profile = f"--user-data-dir={tmp_path / 'profile'}"
        command = [str(BROWSER), *FLAGS, profile, "--dump-dom", f"--screenshot={shot}"]
        done = subprocess.run(
            [*command, f"file://{path}{hash}"],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        pixels = (255 * plt.imread(shot)[::3, ::3, :3]).astype(int) @ [1, 256, 65536]
        assert len(np.unique(pixels)) > 20  # something is drawn
        return done.stdout

    return open_page


@pytest.fixture
def compared(tmp_path: Path) -> Path:
    aucs = {"a": 0.71, "b": 0.55, "c": 0.93}
    runs = [
        read_run(
            write_run(
                tmp_path / name,
                {"test/classifier/boosted/auc": auc, "test/fpd": 0.01 * i if i != 1 else None},
                ms={1: 10.0 * auc, 100: 4.0 - i},
            ),
            name,
        )
        for i, (name, auc) in enumerate(aucs.items(), start=1)
    ]
    return write_compare(tmp_path / "report.html", groups([*runs, *published_runs("ds2")]), ["x"])


@pytest.fixture
def evaluated(tmp_path: Path) -> Path:
    figure, axes = plt.subplots(figsize=(3, 2))
    axes.plot([0, 1])
    figure.savefig(tmp_path / "line.png")
    plt.close(figure)
    images = {"line": tmp_path / "line.png", "again": tmp_path / "line.png"}
    return write_report(tmp_path / "report.html", "caloinn on ds2", QUALITY, images, {"a": 1}, {})


def column(document: str, table: str, number: int) -> list[str]:
    """Values of a column, in the order in which they stand."""
    body = re.search(rf'<table data-name="{table}">.*?<tbody>(.*?)</tbody>', document, re.S)
    assert body is not None
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", body[1], re.S)
    cells = [re.findall(r"<td([^>]*)>", row)[number] for row in rows]
    return [found[1] if (found := re.search(r'data-v="([^"]*)"', cell)) else "" for cell in cells]


def noted(document: str, name: str) -> str:
    found = re.search(rf'<body[^>]* data-{name}="([^"]*)"', document)
    assert found is not None
    return found[1]


def test_a_page_shows_its_rows_in_the_order_they_were_written(look: Look, compared: Path) -> None:
    document = look(compared)
    assert column(document, "ds2-runs", 0) == ["a", "b", "c"]
    assert len(column(document, "ds2-published", 0)) == len(published_runs("ds2"))
    assert document.count("<svg") == 4  # AUC and FPD against time and against parameters
    assert 'aria-sort="' not in document


@pytest.mark.parametrize(("suffix", "order"), [("", ["b", "a", "c"]), (",desc", ["c", "a", "b"])])
def test_a_link_leads_to_a_sorted_view(
    look: Look, compared: Path, suffix: str, order: list[str]
) -> None:
    document = look(compared, hash=f"#sort=ds2-runs/classifier-boosted-auc{suffix}")
    assert column(document, "ds2-runs", 0) == order
    assert document.count('aria-sort="') == 1
    assert column(document, "ds2-published", 0)[0] == "GEANT4"


def test_a_link_without_a_table_sorts_all_and_empty_cells_come_last(
    look: Look, compared: Path
) -> None:
    document = look(compared, hash="#sort=fpd,desc")
    assert column(document, "ds2-runs", 0) == ["c", "b", "a"]
    fpd = [item.figures["fpd"].value for item in published_runs("ds2")]
    names = [item.name for item in published_runs("ds2")]
    assert column(document, "ds2-published", 0)[0] == names[fpd.index(max(fpd))]


def test_a_click_on_a_head_sorts_and_writes_the_link(look: Look, compared: Path) -> None:
    head = "table[data-name=ds2-runs] th[data-column=classifier-boosted-auc] button"
    document = look(compared, click=head)
    assert column(document, "ds2-runs", 0) == ["b", "a", "c"]
    assert noted(document, "hash") == "#sort=ds2-runs%2Fclassifier-boosted-auc"
    assert noted(document, "loaded") == ""


def test_images_of_a_report_are_shown_and_nothing_else_is_loaded(
    look: Look, evaluated: Path
) -> None:
    document = look(evaluated, click="table[data-name=separation] th[data-column=value]")
    assert [int(width) for width in noted(document, "images").split(",")] == [300, 300]
    assert noted(document, "loaded") == ""
    values = [float(value) for value in column(document, "separation", 1)]
    assert values == sorted(values) == [0.02, 0.04, 0.05]


def test_a_foreign_resource_would_be_seen_and_is_forbidden(look: Look, evaluated: Path) -> None:
    """The checks above can fail: an image from elsewhere is refused by the page's own policy."""
    text = evaluated.read_text(encoding="utf-8")
    evaluated.write_text(text.replace("</main>", "<img src='file:///nowhere.png'></main>"))
    with pytest.raises(AssertionError, match="violates the following"):
        look(evaluated, click="body")
