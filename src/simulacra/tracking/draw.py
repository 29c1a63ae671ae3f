"""Figures to files: PNG for reports and trackers, PDF and SVG for papers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from matplotlib.figure import Figure

from simulacra.core.collecting import uncollected
from simulacra.core.files import whole
from simulacra.plotting import figures, panels
from simulacra.plotting.marks import plain_marks
from simulacra.plotting.style import plain_numbers, styled

if TYPE_CHECKING:
    from simulacra.metrics import EvaluationResult

Format = Literal["pdf", "png", "svg"]
UNDATED: Mapping[str, Mapping[str, None]] = {
    "pdf": {"CreationDate": None},
    "svg": {"Date": None},
    "png": {},
}
"""What is left out of a file, so that the same figure is the same file."""
WRITTEN: Mapping[str, Mapping[str, Any]] = {"png": {"pil_kwargs": {"compress_level": 3}}}
"""How files are written: a PNG of usual level is a tenth smaller and takes twice the time."""
RESOLUTION = 110
"""Of figures that are looked at while training [dots per inch]."""
PANELS = "panels"
"""Folder of figures of one observable each."""


def save(
    drawn: Mapping[str, Figure], folder: Path, prefix: str = "", dpi: int = RESOLUTION
) -> dict[str, Path]:
    """Write every figure as ``<folder>/<prefix><name>.png``.

    Returns:
        The files by name.
    """
    return {
        name: write(figure, folder, prefix + name, ("png",), dpi)[0]
        for name, figure in drawn.items()
    }


def write(
    figure: Figure, folder: Path, name: str, formats: Sequence[Format], dpi: int
) -> list[Path]:
    """Write one figure, once for each format; drawn again, it gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name.replace('/', '_')}.{kind}" for kind in formats]
    with styled():
        plain_numbers(figure)
        plain_marks(figure)
        for kind, path in zip(formats, paths, strict=True):
            with whole(path) as part:
                look = WRITTEN.get(kind, {})
                figure.savefig(part, format=kind, dpi=dpi, metadata=dict(UNDATED[kind]), **look)
    return paths


@dataclass(frozen=True)
class Files:
    """How a command draws and writes its figures, as ``conf/figures`` says.

    Args:
        formats: Of the files; pages are written as PNG in any case, which reports and trackers show.
        panels: Whether every observable is a file of its own, too, in ``figures/panels``.
        style: One of :data:`~simulacra.plotting.looks.LOOKS`.
        label: Words behind the experiment's name above the axes; None: neither.
        dpi: Resolution of PNG.
    """

    formats: tuple[Format, ...] = ("png",)
    panels: bool = False
    style: str = "plain"
    label: str | None = None
    dpi: int = 150

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Files:
        """From the configuration of a command."""
        known = {field.name: settings[field.name] for field in fields(cls)}
        return cls(**{**known, "formats": tuple(dict.fromkeys(known["formats"]))})

    def styled(self) -> AbstractContextManager[None]:
        """The style, for the time further figures are built."""
        return styled(self.style, self.label)

    def write(self, drawn: Iterable[tuple[str, Figure]], folder: Path) -> dict[str, Path]:
        """Write pages in every format.

        Returns:
            Their PNG files by name.
        """
        formats: list[Format] = ["png", *(kind for kind in self.formats if kind != "png")]
        return {name: write(figure, folder, name, formats, self.dpi)[0] for name, figure in drawn}

    def publish(
        self,
        result: EvaluationResult,
        model: str,
        further: Iterable[tuple[str, Figure]],
        folder: Path,
    ) -> dict[str, Path]:
        """Draw and write all figures of an evaluation.

        Args:
            result: What was found.
            model: Name of the generated events in legends.
            further: Figures beside those of the result, by name.
            folder: Where they go.

        Returns:
            The PNG files of the pages by name.
        """
        with uncollected():  # pages die together
            pages = figures(result, model, self.style, self.label)
            found = self.write([*pages.items(), *further], folder)
        for name, figure in self._panels(result, model):
            write(figure, folder / PANELS, name, self.formats, self.dpi)
        return found

    def _panels(self, result: EvaluationResult, model: str) -> Iterator[tuple[str, Figure]]:
        return panels(result, model, self.style, self.label) if self.panels else iter(())
