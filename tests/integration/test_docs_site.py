"""The documentation's site: built without a warning, with all of the package in it; its notebooks run."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import doc_pages
from simulacra.evaluation.config import choices

NEEDED = ("mkdocs", "material", "mkdocstrings", "latex2mathml", "nbclient", "ipykernel")
NOTEBOOKS = sorted((doc_pages.DOCS / "notebooks").glob("*.ipynb"))
pytestmark = [
    pytest.mark.docs,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in NEEDED),
        reason="the documentation's packages are not installed: pip install 'simulacra[docs]'",
    ),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as it is published."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=doc_pages.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def pages(site: Path) -> Iterator[tuple[str, str]]:
    for path in site.rglob("*.html"):
        yield str(path.relative_to(site)), path.read_text(encoding="utf-8")


def test_the_reference_has_every_public_module(site: Path) -> None:
    packages = doc_pages.tool("reference").packages()
    assert sum(len(modules) for modules in packages.values()) > 300
    for package, modules in packages.items():
        text = (site / "reference" / package / "index.html").read_text(encoding="utf-8")
        missing = [name for name in modules if f'id="{name}"' not in text]
        assert not missing, package
    core = (site / "reference/simulacra.core/index.html").read_text(encoding="utf-8")
    assert 'id="simulacra.core.batch.Batch.numpy"' in core


def test_no_markup_of_docstrings_is_left(site: Path) -> None:
    left = re.compile(r":(?:math|class|func|meth|mod|data):|class=\"arithmatex\"|\.\. math::")
    found = {name: left.findall(text) for name, text in pages(site)}
    assert {name for name, hits in found.items() if hits} <= {"contributing/index.html"}
    assert sum(text.count("<math") for _, text in pages(site)) > 500


def test_pages_ask_no_other_server_for_anything(site: Path) -> None:
    loaded = re.compile(r"<(?:script|img|link|iframe)[^>]+(?:src|href)=\"?(https?://[^\"> ]+)")
    assert not {hit for _, text in pages(site) for hit in loaded.findall(text)}


def test_models_and_data_sets_are_all_there(site: Path) -> None:
    models = (site / "models/index.html").read_text(encoding="utf-8")
    assert not [name for name in choices("model") if f'id="{name}"' not in models]
    data = (site / "data_sets/index.html").read_text(encoding="utf-8")
    joined = {"pair", "mixture", "bags"}  # of others
    assert not [
        n for n in choices("data") if f"<code>{n}</code></td>" not in data and n not in joined
    ]


def test_the_gallery_shows_what_its_script_lists() -> None:
    gallery = doc_pages.tool("gallery")
    stored = json.loads((gallery.STORE / "gallery.json").read_text())
    assert {name: (item["words"], item["shown"]) for name, item in stored.items()} == gallery.SHOWN
    pictures = {
        f"{name}_{item}.png" for name, (_, shown) in gallery.SHOWN.items() for item in shown
    }
    assert {path.name for path in gallery.STORE.glob("*.png")} == pictures
    assert sum(path.stat().st_size for path in gallery.STORE.iterdir()) < 2_000_000


def test_docstrings_become_markdown() -> None:
    roles = doc_pages.tool("roles")
    assert roles.markdown("so :math:`x^2`, of :class:`~a.b.C`") == (
        r'so \(x^2\), of <autoref identifier="a.b.C" optional><code>C</code></autoref>'
    )
    assert roles.markdown("A.\n\n.. math:: a\n   = b\n\nB") == "A.\n\n\\[a = b\\]\n\nB"
    shared = roles.markdown("A.\n\nArgs:\n    a, b: As there.\n    c: Other.\n\nNote: d, e: f")
    assert (
        shared == "A.\n\nArgs:\n    a: As there.\n    b: As there.\n    c: Other.\n\nNote: d, e: f"
    )
    assert "<math" in doc_pages.tool("mathml").on_page_content(
        r'<span class="arithmatex">\(x\)</span>'
    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.delenv("MPLBACKEND", raising=False)  # pictures go into the notebook
    book = nbformat.read(path, as_version=4)
    stored = [cell.outputs for cell in book.cells if cell.cell_type == "code"]
    place = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(book, timeout=600, kernel_name="python3", resources=place).execute()
    made = [
        [item for item in cell.outputs if item.get("name") != "stderr"]
        for cell in book.cells
        if cell.cell_type == "code"
    ]
    assert [len(outputs) for outputs in made] == [len(outputs) for outputs in stored]
    assert sum(b"image/png" in json.dumps(outputs).encode() for outputs in made) == 1


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_small_and_shows_its_results(path: Path) -> None:
    assert path.stat().st_size < 120_000
    cells = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
    assert sum(bool(cell["outputs"]) for cell in cells) > len(cells) / 2
    assert not [o for cell in cells for o in cell["outputs"] if o["output_type"] == "error"]
