"""Pages of the documentation as programs: their blocks in order, and what they are run with in tests.

A block is run as it stands, in the folder of its page:

- ``bash``: each line is a command; a line that begins with ``simulacra`` runs in this process;
- ``python``: runs with the names of the page's earlier blocks;
- a block with ``title="PATH"`` is a file, written to that place;
- ``text``, and any other language, is shown only.

A comment right above a block changes that, where all readers of the page's source see it:

- ``<!-- small -->``: with the settings of :data:`SMALL`, which make a command a matter of seconds;
- ``<!-- small: n=20 -->``: with those and with the words behind the colon, which take the place of like ones;
- ``<!-- alone: n=20 -->``: as ``small``, in a process of its own, for what warns when it is imported;
- ``<!-- with: n=20 -->``: with these words alone;
- ``<!-- not run: REASON -->``: not at all.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from simulacra.cli.main import main

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
TOOLS = DOCS / "tools"
FENCE = re.compile(
    r"^(?:<!-- (?P<note>(?:(?!-->).)+?) -->\n)?```(?P<language>\w+)(?P<options>[^\n]*)\n(?P<text>.*?)^```$",
    re.M | re.S,
)
TITLE = re.compile(r'title="([^"]+)"')
TRAIN = (
    *("debug=fast", "model/size=tiny", "trainer.max_epochs=1", "trainer.max_steps=4"),
    *("logger=csv", "data.limit=64", "data.batch_size=32", "evaluation.events=100"),
    *("evaluation.draw=false", "callbacks.physics.draw=false", "trainer.enable_progress_bar=false"),
)
JUDGED = ("evaluation=quick", "evaluation.events=100", "evaluation.replicas=2")
SMALL = {
    "train": TRAIN,
    "evaluate": (*JUDGED, "evaluation.draw=false", "scan.events=10", "scan.points=2"),
    "study": (
        *("data.limit=64", "logger=csv", "trainer.max_epochs=1", "evaluation.events=100"),
        "evaluation.replicas=2",
    ),
    "sample": ("n=100",),
    "benchmark": ("batch_sizes=[1,20]", "repeats=2"),
    "produce": ("n=4",),
    "simulate": ("n=4", "every=2"),
}
"""Words that make a command small, by its name; a command that is not named here needs none."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Args:
        language: What stands behind the fence.
        text: What is inside.
        title: Path of the file that the block is, or None.
        note: The comment above it, or an empty text.
        line: Number of its first line.
    """

    language: str
    text: str
    title: str | None
    note: str
    line: int

    @property
    def reason(self) -> str | None:
        """Why the block is not run, or None."""
        return self.note.removeprefix("not run: ") if self.note.startswith("not run: ") else None

    @property
    def runs(self) -> bool:
        """Whether the block is run."""
        shown = self.title is not None or self.reason is not None
        return not shown and self.language in ("bash", "python")

    def words(self, line: str) -> list[str]:
        """The words of a command with those that the note adds or puts in the place of like ones."""
        words = shlex.split(line, comments=True)
        kind, _, more = self.note.partition(":")
        added = shlex.split(more)
        if kind in ("small", "alone"):
            added = [*SMALL.get(" ".join(words[1:2]), ()), *added]
        keys = {word.partition("=")[0] for word in added if "=" in word}
        kept = [word for word in words if word.partition("=")[0] not in keys]
        return [*kept, *_last(added)]


def _last(words: list[str]) -> list[str]:
    """Of words with one key the last."""
    return list({word.partition("=")[0]: word for word in words}.values())


def blocks(text: str) -> list[Block]:
    """All fenced blocks of a page."""
    found = []
    for fence in FENCE.finditer(text):
        title = TITLE.search(fence["options"])
        line = text.count("\n", 0, fence.start("language")) + 1
        found.append(
            Block(
                fence["language"],
                fence["text"],
                title[1] if title else None,
                fence["note"] or "",
                line,
            )
        )
    return found


def run(page: Path) -> int:
    """Run all blocks of a page in the current folder; returns the number of commands and of Python blocks."""
    module, done = ModuleType(page.stem), 0
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.title is not None:
            Path(block.title).parent.mkdir(parents=True, exist_ok=True)
            Path(block.title).write_text(block.text, encoding="utf-8")
        elif not block.runs:
            continue
        elif block.language == "python":
            code = compile("\n" * block.line + block.text, str(page), "exec")
            exec(code, module.__dict__)
            done += 1
        else:
            for line in filter(None, block.text.replace("\\\n", " ").splitlines()):
                program, *arguments = block.words(line)
                assert program == "simulacra", (
                    f"{page.name}:{block.line} runs {program}: say why not"
                )
                if block.note.startswith("alone"):
                    subprocess.run([sys.executable, "-m", "simulacra", *arguments], check=True)
                else:
                    main(arguments)
                done += 1
    return done


def tool(name: str) -> ModuleType:
    """One of the scripts that make pages."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", TOOLS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
