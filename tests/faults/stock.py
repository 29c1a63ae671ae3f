"""Undamaged inputs, made once per session: files of every format, checkpoints, run directories."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py

from faults.calls import digest, format_of
from faults.case import Ended, Job, command

EMBEDDED = Path(__file__).parents[2] / "src" / "simulacra" / "data" / "embedded"


@dataclass(frozen=True)
class Kind:
    """One format of files.

    Args:
        overrides: Choose its data set on the command line.
        source: Embedded file that events are taken from; empty: toys.
        name: Name of a file.
        n: Events in it.
        main: Key of the values in HDF5; empty: no HDF5.
        condition: Key of one number per event.
    """

    overrides: tuple[str, ...]
    source: str
    name: str
    n: int
    main: str = ""
    condition: str = ""


_EMBEDDED = (
    *("pt", "y", "phi", "m", "mult", "lha", "width", "ang2", "tau2", "sdm", "zg"),
    *("z_pt", "z_y", "z_phi"),
)
COLUMNS = (
    *(f"data.columns.{name}=null" for name in _EMBEDDED),
    "+data.columns.gen_energy={unit: GeV, low: 1, log: true}",
    "+data.columns.gen_angle={}",
    "+data.columns.gen_mults={low: 1, integer: true}",
    "+data.columns.gen_widths={low: 0, use: condition}",
)
"""A table of four columns, since text and Parquet have none of several numbers."""
KINDS = {
    "ds1": Kind(
        ("data=ds1_photons",),
        "ds1_photons/dataset_1_photons_2.hdf5",
        "showers.hdf5",
        64,
        "showers",
        "incident_energies",
    ),
    "ds2": Kind(
        ("data=ds2",), "ds2/dataset_2_2.hdf5", "d2.hdf5", 24, "showers", "incident_energies"
    ),
    "ild": Kind(
        ("data=ild",), "ild/showers-1k.hdf5", "ild.hdf5", 16, "30x30/layers", "30x30/energy"
    ),
    "calogan": Kind(("data=calogan",), "calogan/eplus.hdf5", "eplus.hdf5", 64, "layer_0", "energy"),
    "ild_cloud": Kind(
        ("data=ild_cloud",),
        "ild_cloud/10-90GeV_x36_grid_regular_sample.hdf5",
        "cloud.hdf5",
        16,
        "events",
        "energy",
    ),
    "jetnet": Kind(
        ("data=jetnet30",), "jetnet30/t.hdf5", "t.hdf5", 64, "particle_features", "jet_features"
    ),
    "jetclass": Kind(
        ("data=jetclass", "data.classes=[Tbqq]"),
        "jetclass/TTBar_000.h5",
        "TTBar_000.h5",
        48,
        "part_energy",
        "jet_pt",
    ),
    "root": Kind(
        ("data=jetclass", "data.classes=[Tbqq]"),
        "jetclass/TTBar_000.h5",
        "TTBar_000.root",
        48,
    ),
    "pxd": Kind(
        ("data=pxd_small",),
        "pxd/pxd_small_test_c4a3e03873e3aa2e.hdf5",
        "pxd_small.hdf5",
        8,
        "charge",
        "event_offsets",
    ),
    "showerdata": Kind(("data=showerdata",), "", "showers.h5", 16, "energies", "num_points"),
    "lemurs": Kind(("data=lemurs",), "", "lemurs.h5", 12, "showers", "incident_energy"),
    "png": Kind(("data=pxd", "data.sensors=[1.1.1,2.3.1]"), "", "images", 3),
    "table": Kind(
        ("data=table",),
        "zjets/test/Pythia26_Zjet_pTZ-200GeV.h5",
        "zjets.h5",
        64,
        "gen_jets",
        "gen_widths",
    ),
    "csv": Kind(("data=table", *COLUMNS), "", "zjets.csv", 64),
    "parquet": Kind(("data=table", *COLUMNS), "", "zjets.parquet", 64),
}

SMALL = (
    "model/size=tiny",
    "data.limit=64",
    "data.batch_size=32",
    "data.eval_batch_size=64",
    "trainer.max_epochs=1",
    "trainer.check_val_every_n_epoch=1",
    "trainer.limit_val_batches=1",
    "trainer.enable_progress_bar=false",
    "evaluation.events=60",
    "evaluation.replicas=2",
    "evaluation.draw=false",
    "callbacks=minimal",
    "logger=csv",
)
"""A training of two seconds."""
JUDGED = (
    "evaluation=quick",
    "evaluation.events=60",
    "evaluation.replicas=2",
    "evaluation.draw=false",
)
"""A judgement of one second."""
MODELS = {
    "caloinn": ("data=ds1_photons", "model=caloinn"),
    "epic_fm": ("data=jetnet30", "model=epic_fm"),
    "table_flow": ("data=table", "model=table_flow"),
    "dctrgan": ("data=pair", "model=dctrgan"),
}
"""A family of each kind of events, and one that weighs events."""


def train(*overrides: object) -> Job:
    """A short training in ``run``."""
    return command("train", *SMALL, "paths.run=run", *overrides)


@dataclass
class Stock:
    """See the module's docstring.

    Args:
        folder: New folder.
        warm: Runs jobs.
    """

    folder: Path
    warm: Any
    files: dict[str, Path] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    runs: dict[str, Path] = field(default_factory=dict)
    times: dict[tuple[str, ...], float] = field(default_factory=dict)

    def file(self, kind: str) -> Path:
        """An undamaged file (of images a folder)."""
        if kind not in self.files:
            self.files[kind] = self._file(KINDS[kind], kind)
        return self.files[kind]

    def copy(self, kind: str, folder: Path) -> Path:
        """A copy of it in a folder, to be damaged."""
        source, target = self.file(kind), folder / KINDS[kind].name
        if source.is_dir():
            return Path(shutil.copytree(source, target))
        return Path(shutil.copyfile(source, target))

    def digest(self, kind: str) -> str:
        """Of its events."""
        if kind not in self.digests:
            self.digests[kind] = digest(format_of(KINDS[kind].overrides), self.file(kind))
        return self.digests[kind]

    def run(self, model: str = "caloinn") -> Path:
        """A finished training."""
        if model not in self.runs:
            ended = self.do(train(*MODELS[model]), f"train_{model}")
            assert ended.code == 0, ended.stderr[-2000:]
            self.runs[model] = self.folder / f"train_{model}" / "work" / "run"
        return self.runs[model]

    def checkpoint(self, model: str = "caloinn") -> Path:
        """Its checkpoint."""
        return self.run(model) / "checkpoints" / "last.ckpt"

    def copied_run(self, place: Path, model: str = "caloinn") -> Path:
        """A copy of its run directory, to be damaged."""
        return Path(shutil.copytree(self.run(model), place))

    def do(self, job: Job, name: str) -> Ended:
        """Run a job in a folder of that name."""
        folder = self.folder / name
        (folder / "work").mkdir(parents=True)
        ended: Ended = self.warm.run(job, folder, folder / "work")
        return ended

    @cached_property
    def generated(self) -> Path:
        """A sample of the generator of showers."""
        ended = self.do(
            command("sample", f"checkpoint={self.checkpoint()}", "n=64", "output=g.hdf5"), "sample"
        )
        assert ended.code == 0, ended.stderr[-2000:]
        return self.folder / "sample" / "work" / "g.hdf5"

    @cached_property
    def sampled(self) -> str:
        """Digest of it."""
        return digest(format_of(KINDS["ds1"].overrides), self.generated)

    def _file(self, kind: Kind, name: str) -> Path:
        path = self.folder / name / kind.name
        path.parent.mkdir()
        form = format_of(kind.overrides)
        if not kind.source:
            form.toy(path, kind.n)
            if name == "lemurs":
                _apart(path)
        else:
            form.write(path, form.read(EMBEDDED / kind.source, 0, kind.n))
        return path


def _apart(path: Path) -> None:
    """One data set for each member of the records of a file, which is another form of the same format."""
    with h5py.File(path, "r+") as file:
        records = file["events"][:]
        del file["events"]
        for member in records.dtype.names:
            file.create_dataset(member, data=records[member], compression="gzip")
