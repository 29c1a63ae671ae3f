"""The report: one file, complete, with nothing outside it."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from simulacra.tracking.report import write_report

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYPj/HwADAgH/p9eZGQAAAABJRU5ErkJggg=="
)
METRICS = {
    "test/classifier/boosted/auc": 0.6125,
    "test/classifier/boosted/auc/error": 0.0046,
    "test/classifier/boosted/auc/floor": 0.501,
    "test/classifier/boosted/auc/z": 24.2,
    "test/w1_mean": 0.0402,
    "test/w1_mean/floor": 0.0101,
    "test/w1/a<b": 1.25,
    "test/time_per_event_ms": 0.42,
}


class Seen(HTMLParser):
    """What a browser would fetch, and whether tags match."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for key, value in attrs if key in ("src", "href")]
        if tag not in ("meta", "img", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def page(tmp_path: Path) -> str:
    (tmp_path / "images.png").write_bytes(PIXEL)
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    path = write_report(
        tmp_path / "run" / "report.html",
        "caloinn on <ds1>",
        METRICS,
        {"observables_1": PIXEL, "images": tmp_path / "images.png"},
        {"model": {"hidden": 128, "size": "small"}, "seed": 0, "paths": [Path("a")]},
        {"events": "embedded sample", "commit": "abc"},
        {"test/floor": "halves"},
        ["model.hidden=128"],
        {
            "command": "simulacra train model.hidden=128",
            "checkpoint": tmp_path / "run" / "checkpoints" / "be st.ckpt",
        },
    )
    assert sorted(item.name for item in path.parent.iterdir()) == ["checkpoints", "report.html"], (
        "a temporary file is left"
    )
    return path.read_text(encoding="utf-8")


def test_everything_is_inside_one_well_formed_file(page: str) -> None:
    seen = Seen()
    seen.feed(page)
    assert not seen.open
    inside = {"data:,", "#run", "#figures", "#numbers", "#origin", "checkpoints/be%20st.ckpt"}
    assert inside < set(seen.sources)
    images = [source for source in seen.sources if source not in inside]
    assert len(images) == 2
    for source in images:
        head, data = source.split(",")
        assert head == "data:image/png;base64"
        assert base64.b64decode(data) == PIXEL
    assert not re.search(r"https?://|@import|url\(", page)


def test_figures_errors_floors_and_origin_can_be_read(page: str) -> None:
    tile = "<b>0.613</b><span>AUC boosted</span><span>± 0.0046 · floor 0.501 · z 24</span>"
    assert tile in page
    row = "<td data-v='0.0402'>0.04020</td><td></td><td data-v='0.0101'>0.01010</td>"
    assert f"<td class='text' data-v='w1_mean'>w1_mean</td>{row}<td class='q3' data-v='3.98" in page
    for text in ("hidden: 128", "model.hidden=128", "embedded sample", "<li>floor: halves</li>"):
        assert text in page


def test_the_report_says_what_was_run_and_captions_are_words(page: str) -> None:
    assert (
        "<td class='text'>command</td><td class='text long'>simulacra train model.hidden=128</td>"
        in page
    )
    assert re.search(r"<a href='checkpoints/be%20st.ckpt'>[^<]*be st.ckpt</a>", page)
    assert "<figcaption><b>Observables, page 1.</b> Grey: truth; red: generated events" in page
    assert "<figcaption><b>Mean images.</b>" in page


def test_names_cannot_break_the_page(page: str) -> None:
    assert "caloinn on &lt;ds1&gt;" in page
    assert "w1/a&lt;b" in page
    assert "<ds1>" not in page


def test_a_missing_image_leaves_the_old_report(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(FileNotFoundError):
        write_report(path, "t", METRICS, {"gone": tmp_path / "gone.png"}, {}, {})
    assert path.read_text() == "old"
