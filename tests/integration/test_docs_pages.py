"""What the pages of the documentation say is run, page by page."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import doc_pages

PAGES = sorted([*doc_pages.DOCS.glob("*.md"), *doc_pages.DOCS.glob("guides/*.md")])
OTHERWISE = {"geant4"}
"""Pages with a test of their own."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to work in; modules that a page writes there are forgotten."""
    monkeypatch.chdir(tmp_path)
    before, path = set(sys.modules), list(sys.path)
    yield tmp_path
    sys.path[:] = path
    for name, module in list(sys.modules.items()):
        if name not in before and str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.docs
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.stem not in OTHERWISE], ids=lambda page: page.stem
)
def test_every_block_of_a_page_runs(page: Path, folder: Path) -> None:
    blocks = doc_pages.blocks(page.read_text(encoding="utf-8"))
    runs = [item for item in blocks if item.runs]
    done = doc_pages.run(page)
    assert done >= len(runs)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_is_not_run_says_why_and_other_comments_are_known(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for block in doc_pages.blocks(text):
        kind = block.note.partition(":")[0]
        assert kind in ("", "small", "alone", "with", "not run"), (
            f"{page.name}:{block.line}: {block.note}"
        )
        if kind == "not run":
            assert len(block.reason or "") > 10, f"{page.name}:{block.line} gives no reason"
    assert text.count("\n```") == 2 * len(doc_pages.blocks(text)), "a fence that no test sees"


def test_a_block_is_run_with_what_its_comment_says(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = folder / "page.md"
    page.write_text(
        '# Page\n\n```python\na = 2\n```\n\n```python title="made/file.py"\nb = 3\n```\n\n'
        "<!-- not run: it would fail, as it should -->\n```python\nraise ValueError\n```\n\n"
        "<!-- with: --version -->\n```bash\nsimulacra\n```\n\n```python\nassert a == 2\n```\n"
    )
    assert doc_pages.run(page) == 3
    assert (folder / "made/file.py").read_text() == "b = 3\n"
    assert capsys.readouterr().out.startswith("simulacra 0.")
    page.write_text("```python\nassert False\n```\n")
    with pytest.raises(AssertionError):
        doc_pages.run(page)
    page.write_text("```bash\nls\n```\n")
    with pytest.raises(AssertionError, match="say why not"):
        doc_pages.run(page)


def test_words_of_a_comment_take_the_place_of_like_ones() -> None:
    text = "<!-- small: n=7 -->\n```bash\nsimulacra sample n=1000 output=a.hdf5  # many\n```\n"
    (block,) = doc_pages.blocks(text)
    assert block.words(block.text) == ["simulacra", "sample", "output=a.hdf5", "n=7"]
    (plain,) = doc_pages.blocks(text.partition("\n")[2])
    assert plain.words(plain.text) == ["simulacra", "sample", "n=1000", "output=a.hdf5"]
