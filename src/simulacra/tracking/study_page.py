"""The page of a study: what it shows, section by section, and what each of its stages has found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from simulacra.tracking import page
from simulacra.tracking.page import Column, Line
from simulacra.tracking.report import figures_table, picture, yaml_of
from simulacra.tracking.stages import duration

STAGES = (
    Column("stage", "stage", text=True),
    Column("kind", "kind", text=True),
    Column("seconds", "time"),
    Column("figures", "figures"),
)


class Shown(Protocol):
    """A section."""

    @property
    def title(self) -> str:
        """Its head."""

    @property
    def figures(self) -> Mapping[str, float]:
        """Figures with their twins."""

    @property
    def image(self) -> Path | None:
        """A PNG file."""

    @property
    def text(self) -> str:
        """What is said of it."""


class Staged(Protocol):
    """A stage."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def kind(self) -> str:
        """What was done."""

    @property
    def figures(self) -> Mapping[str, float]:
        """What it has found."""

    @property
    def seconds(self) -> float:
        """How long it has taken."""


def write_study(
    path: Path,
    title: str,
    sections: Sequence[Shown],
    stages: Sequence[Staged],
    config: Mapping[str, Any],
    provenance: Mapping[str, str],
    overrides: Sequence[str],
) -> Path:
    """Write the page, all of it or nothing; figures lie inside it.

    Args:
        path: The file, usually ``report.html`` of a run directory.
        title: The study and its data set.
        sections: What it shows.
        stages: What it has done, in order.
        config: Resolved configuration.
        provenance: Where the events and the code come from.
        overrides: What the user changed on the command line.
    """
    whole = sum(stage.seconds for stage in stages)
    body = page.render(
        "study.html",
        title=title,
        overrides=" ".join(overrides),
        sections=[
            {
                "title": item.title,
                "text": item.text,
                "image": None if item.image is None else picture(item.title, item.image),
                "table": figures_table(item.title, item.figures) if item.figures else None,
            }
            for item in sections
        ],
        shades=page.shades(),
        whole=duration(whole),
        stages=page.table("stages", STAGES, [_line(stage) for stage in stages]),
        details=[
            page.details(stage.name, figures_table(stage.name, stage.figures))
            for stage in stages
            if stage.figures
        ],
        provenance={key: str(value) for key, value in provenance.items()},
        configuration=yaml_of(config),
    )
    return page.write_page(path, title, [body])


def _line(stage: Staged) -> Line:
    return Line([
        page.words(stage.name),
        page.words(stage.kind),
        page.Cell(duration(stage.seconds), stage.seconds),
        page.number(float(len(stage.figures))),
    ])  # fmt: skip
