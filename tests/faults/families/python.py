"""The interface for programs: samples, conditions and names that make no sense."""

from __future__ import annotations

from collections.abc import Iterator

from faults.case import Case, Ended, Job, Place, ended_well, refused

METRICS = ("fpd", "kpd", "w1", "separation", "prdc", "boosted")
BEGIN = (
    "import numpy as np, torch, math\nrng = np.random.default_rng(0)\n"
    "good = rng.normal(size=(60, 3)).astype('f4')\n"
    "def judged(name, n, data=None, **settings):\n"
    "    found = simulacra.dataset(name)\n"
    "    return simulacra.evaluate(found.batch(n), found.batch(n), data or found, **settings)\n"
)
WRONG = {
    "nan": "np.where(good > 2, np.nan, good)",
    "all_nan": "good * np.nan",
    "infinite": "np.where(good > 2, np.inf, good)",
    "empty": "good[:0]",
    "one_event": "good[:1]",
    "no_features": "good[:, :0]",
    "fewer_features": "good[:, :2]",
    "three_axes": "good[None]",
    "scalar": "3.0",
    "none": "None",
    "text": "'abc'",
    "texts": "np.array(['a'] * 60)",
    "ragged": "[[1, 2, 3], [1, 2]]",
    "objects": "np.array([object()] * 60)",
    "complex": "good * 1j",
    "dates": "np.array(['2020-01-01'] * 60, dtype='datetime64[D]')",
    "mapping": "{'a': good}",
    "generator": "(x for x in good)",
    "class": "dict",
    "sparse": "torch.tensor(good).to_sparse()",
}
"""Samples of which no figure can be made."""
FINE = {
    "list": "good.tolist()",
    "double": "good.astype('f8')",
    "whole_numbers": "(good * 10).astype('i8')",
    "half": "good.astype('f2')",
    "tensor": "torch.tensor(good)",
    "with_gradient": "torch.tensor(good, requires_grad=True)",
    "strided": "np.repeat(good, 2, 0)[::2]",
    "reversed": "good[::-1]",
    "big_endian": "good.astype('>f4')",
    "constant": "good * 0 + 1",
    "read_only": "np.frombuffer(good.tobytes(), 'f4').reshape(60, 3)",
    "huge": "good * 1e30",
    "tiny": "good * 1e-40",
    "in_double_precision_alone": "good.astype('f8') * 1e100",
    "other_length": "rng.normal(size=(45, 3))",
    "subnormal_outlier": "np.concatenate([good, good[:1] * 1e8])",
}
"""Samples of which a figure can be made."""


def lines(*text: str) -> Job:
    """Lines of Python."""
    return Job((BEGIN + "\n".join(text),), call="faults.calls.snippet")


def finite(place: Place, ended: Ended) -> str | None:
    """A figure, which is a number."""
    return "the figure is no number" if "nan" in ended.stdout else None


def no_number(place: Place, ended: Ended) -> str | None:
    """No figure, or one that says that it is none."""
    return None if "nan" in ended.stdout else "a figure of what is no sample"


def metrics() -> Iterator[Case]:
    """Each figure of odd samples."""
    for number, name in enumerate(METRICS):
        sizes = ", min_samples=30, max_samples=60" if name == "fpd" else ""
        for odd, sample in {**WRONG, **FINE}.items():
            pair = f"{sample}, good" if (number + len(odd)) % 2 else f"good, {sample}"
            yield Case(
                f"{name}-{odd}", "python", f"{name} of {odd.replace('_', ' ')}",
                lambda place, name=name, pair=pair, sizes=sizes: lines(
                    "from simulacra import metrics", f"print(metrics.{name}({pair}{sizes}))"
                ),
                no_number if odd in WRONG else finite,
            )  # fmt: skip


CONDITIONS = {
    "number": ("10.5", refused),
    "negative": ("-3", refused),
    "zero": ("0", ended_well),
    "text": "'many'",
    "none": "None",
    "list": "[1024.0, 2048.0]",
    "empty_mapping": "{}",
    "unknown_field": "{'colour': [1.0]}",
    "too_many_fields": "{'incident_energy': [1024.0], 'colour': [1.0]}",
    "text_as_value": "{'incident_energy': ['a']}",
    "nan": ("{'incident_energy': [float('nan')]}", refused),
    "infinite": ("{'incident_energy': [float('inf')]}", refused),
    "negative_energy": ("{'incident_energy': [-5.0]}", refused),
    "no_energy": ("{'incident_energy': [0.0]}", refused),
    "two_columns": "{'incident_energy': torch.ones(3, 2) * 1024}",
    "no_events": "{'incident_energy': torch.ones(0, 1)}",
    "whole_numbers": "{'incident_energy': [1024, 2048]}",
    "double": "{'incident_energy': torch.ones(3, 1, dtype=torch.float64) * 1024}",
    "boolean": "True",
}
SETTINGS = {
    "negative_seed": "4, seed=-1", "text_seed": "4, seed='x'", "huge_seed": "4, seed=2**80",
    "half_seed": "4, seed=1.5",
    "batch_0": "4, batch_size=0", "batch_text": "4, batch_size='x'", "batch_negative": "4, batch_size=-2",
    "draws": "4, posterior_draws=2", "draws_0": "4, posterior_draws=0", "field": "4, incident_energy=1024.0",
    "field_text": "4, incident_energy='x'", "field_nan": "4, incident_energy=float('nan')",
    "field_none": "4, incident_energy=None",
    "field_long": "4, incident_energy=[1024.0] * 7", "field_unknown": "4, colour=3"
}  # fmt: skip


def sampling() -> Iterator[Case]:
    """Conditions that cannot be."""
    for name, entry in CONDITIONS.items():
        text, judge = entry if isinstance(entry, tuple) else (entry, ended_well)
        yield _sampled(f"sample-{name}", text, judge)
    for name, text in SETTINGS.items():
        yield _sampled(f"sample-{name}", text, refused if name == "field_nan" else ended_well)


def _sampled(name: str, text: str, judge: object) -> Case:
    def make(place: Place) -> Job:
        path = str(place.stock.checkpoint())
        bound = "import resource; resource.setrlimit(resource.RLIMIT_AS, (16 * 2**30,) * 2)"
        call = f"print(len(simulacra.load({path!r}).sample({text})))"
        return lines(bound, call)

    return Case(name, "python", f"sample({text})", make, judge)  # type: ignore[arg-type]


CALLS = {
    "dataset_unknown": "simulacra.dataset('gone')",
    "dataset_number": "simulacra.dataset(3)",
    "dataset_path": "simulacra.dataset('../data/ds2')",
    "dataset_empty": "simulacra.dataset('')",
    "dataset_setting": "simulacra.dataset('ds1_photons', colour='red')",
    "dataset_view": "simulacra.dataset('ds1_photons', view='gone')",
    "dataset_limit": "simulacra.dataset('ds1_photons', limit=-1).batch(3)",
    "dataset_limit_text": "simulacra.dataset('ds1_photons', limit='x').batch(3)",
    "dataset_root": "simulacra.dataset('ds1_photons', root='gone').batch(3)",
    "dataset_override": "simulacra.dataset('ds1_photons', ['x'])",
    "dataset_override_text": "simulacra.dataset('ds1_photons', 'batch_size=3')",
    "dataset_interpolation": "simulacra.dataset('ds1_photons', root='${oc.env:HOME}').batch(3)",
    "batch_negative": "simulacra.dataset('ds1_photons').batch(-1)",
    "batch_text": "simulacra.dataset('ds1_photons').batch('x')",
    "batch_part": "simulacra.dataset('ds1_photons').batch(3, 'gone')",
    "load_none": "simulacra.load(None)",
    "load_number": "simulacra.load(3)",
    "load_gone": "simulacra.load('gone.ckpt')",
    "load_folder": "simulacra.load('.')",
    "load_allow": "simulacra.load('gone.ckpt', allow=3)",
    "evaluate_gone": "simulacra.evaluate('gone.hdf5', 'gone.hdf5', 'ds1_photons')",
    "evaluate_unknown": "simulacra.evaluate('gone.hdf5', 'gone.hdf5', 'gone')",
    "evaluate_none": "simulacra.evaluate(None, None, 'ds1_photons')",
    "evaluate_arrays": "simulacra.evaluate(good, good, 'ds1_photons')",
    "evaluate_mapping": "simulacra.evaluate({'x': good}, {'x': good}, 'ds1_photons')",
    "evaluate_level": "judged('ds1_photons', 60, evaluation='gone')",
    "evaluate_few": "judged('ds1_photons', 1, evaluation='quick')",
    "evaluate_other": "judged('jetnet30', 60, 'ds1_photons')",
    "evaluate_seed": "judged('ds1_photons', 60, seed='x')",
}  # fmt: skip


def calls() -> Iterator[Case]:
    """Names and files that are not there."""
    for name, text in CALLS.items():
        yield Case(name, "python", text, lambda place, text=text: lines(text))


def cases() -> list[Case]:
    """All of the family."""
    return [*metrics(), *sampling(), *calls()]
