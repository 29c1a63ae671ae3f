from __future__ import annotations

import json
import mmap
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from simulacra.cli.benchmark import benchmark, count
from simulacra.core import Batch, Conditions, UserError
from simulacra.core.units import factor
from simulacra.evaluation.config import compose
from simulacra.evaluation.memory import HostMemory
from simulacra.evaluation.timing import Protocol, Stopwatch, Timing, predict
from simulacra.tracking.compare_runs import read_run
from simulacra.tracking.geant4 import geant4_time
from simulacra.training import checkpoint
from simulacra.training.generative import GenerativeModule
from simulacra.training.replay import Replays
from support import called_again, spec_of, tiny

MIB = 2**20


class Fake:
    """Generator and memory in one: notes each batch; ``seconds`` and ``bytes`` are linear in its size."""

    device = torch.device("cpu")

    def __init__(self, free: int, per_event: int = MIB) -> None:
        self.sizes: list[int] = []
        self.conds: list[Conditions] = []
        self._free, self.per_event = free, per_event

    def draw_conditions(self, n: int, generator: torch.Generator) -> Conditions:
        return Conditions(n, {"e": torch.rand(n, 1, generator=generator)})

    def stream(
        self, cond: Conditions, *, batch_size: int, generator: torch.Generator
    ) -> Iterator[Batch]:
        self.sizes += [batch_size] * -(-len(cond) // batch_size)
        self.conds.append(cond)
        return iter(())

    def reset(self) -> None:
        pass

    def peak(self) -> int:
        return 300 * MIB + self.per_event * self.sizes[-1]

    def used(self) -> int:
        return 300 * MIB

    def free(self) -> int:
        return self._free


def timed(fake: Fake, sizes: list[int], protocol: Protocol | None = None) -> list[Timing]:
    return Stopwatch(fake, protocol or Protocol(repeats=3), fake)(sizes)  # type: ignore[arg-type]


def test_a_batch_that_would_not_fit_is_not_run_and_says_what_it_needs() -> None:
    fake = Fake(free=2000 * MIB)
    small, large = timed(fake, [100, 10_000])
    assert len(small.ms) == 3
    assert small.peak == 400 * MIB
    assert large.ms == ()
    assert large.peak is None
    assert large.note == "not run: needs 10.1 GiB, free are 2.0 GiB"  # 300 MiB + 10,000 MiB
    assert max(fake.sizes) == 1000  # 1,000 MiB are below 60 % of 2,000 MiB, 10,000 MiB are not
    assert set(fake.sizes) == {1, 10, 100, 1000}


@pytest.mark.parametrize(("free", "runs"), [(1667, True), (1666, False)])
def test_a_batch_may_take_60_percent_of_the_free_memory(free: int, runs: bool) -> None:
    (timing,) = timed(Fake(free=free * MIB), [1000])
    assert bool(timing.ms) is runs


def test_sizes_are_measured_from_the_smallest_whatever_their_order() -> None:
    fake = Fake(free=10**12)
    assert [item.batch_size for item in timed(fake, [30, 1, 30, 7])] == [1, 7, 30]
    # warm-up and repeats of 1 and 7; a trial of 10, with its own warm-up; warm-up and repeats of 30
    assert fake.sizes == [1] * 4 + [7] * 4 + [10] * 2 + [30] * 4


def test_events_per_repeat_fill_whole_batches_and_repeats_differ() -> None:
    fake = Fake(free=10**12)
    (timing,) = timed(fake, [4], Protocol(repeats=2, events=10))
    assert timing.events == 12
    first, second = fake.conds[-2:]
    assert len(first) == len(second) == 12
    assert not torch.equal(first.values["e"], second.values["e"])
    again = Fake(free=10**12)
    timed(again, [4], Protocol(repeats=2, events=10))
    assert torch.equal(again.conds[-1].values["e"], second.values["e"])


def test_a_slow_generator_stops_early_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(free=10**12)
    clock = [0.0]
    monkeypatch.setattr("simulacra.evaluation.timing.time.perf_counter", lambda: clock[0])

    def slow(cond: Conditions, **asked: object) -> Iterator[Batch]:
        clock[0] += 2.0 * len(cond)
        return Fake.stream(fake, cond, **asked)  # type: ignore[arg-type]

    monkeypatch.setattr(fake, "stream", slow)
    one, ten, hundred = timed(fake, [1, 10, 100], Protocol(repeats=30, seconds=50))
    assert one.quantiles == pytest.approx((2000.0,) * 5)
    assert one.note == "stopped after 25 of 30 repeats: 50 s were spent"
    assert ten.note == "stopped after 3 of 30 repeats: 60 s were spent"
    assert hundred.note == "not run: one batch would take some 200 s, seconds=50"
    assert hundred.ms == ()


def test_predictions_are_linear_and_never_fall() -> None:
    assert predict([(0, 100.0), (1, 90.0), (10, 99.0)], 1000) == pytest.approx(99 + 990)
    assert predict([(1, 90.0), (10, 80.0)], 1000) == 80.0


def test_the_peak_of_resident_memory_is_that_since_the_reset() -> None:
    memory = HostMemory()
    memory.reset()
    before = memory.used()
    with mmap.mmap(-1, 40 * MIB) as block:  # pages that the process does not have yet
        for start in range(0, len(block), MIB):
            block[start : start + MIB] = bytes(range(256)) * (MIB // 256)
        grown = memory.peak() - before
    assert 35 * MIB < grown < 90 * MIB
    assert memory.free() > 0


def test_geant4_takes_time_in_proportion_to_the_energy() -> None:
    at_ten = geant4_time("ds2+cloud", 10.0)
    assert at_ten is not None
    assert at_ten.ms == pytest.approx(81.2)
    assert at_ten.error == pytest.approx(0.5)
    far = geant4_time("ds3", 200.0)
    assert far is not None
    assert far.ms == pytest.approx(2 * 781.2)
    assert (at_ten.extrapolated, far.extrapolated) == (False, True)
    assert geant4_time("jetnet30", 10.0) is None
    assert geant4_time("ds1_pions", 10.0) is None


def asked(tmp_path: Path, *overrides: str) -> dict:
    common = ["repeats=3", "threads=1", f"output={tmp_path / 'out'}"]
    return benchmark(compose("benchmark", [*common, *overrides]))


TINY = ("model=caloinn", "model/size=tiny", "data=ds1_photons")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_compiled_networks_and_recorded_samplers_are_measured_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_for = []

    def use_graphs(self: GenerativeModule) -> None:
        asked_for.append("graph")
        self._replays = Replays(called_again)

    monkeypatch.setattr(GenerativeModule, "use_graphs", use_graphs)
    monkeypatch.setattr(GenerativeModule, "compile_nets", lambda _: asked_for.append("compile"))
    asked(tmp_path, *TINY, "batch_sizes=[1]", "compile=true", "graph=true")
    assert asked_for == ["compile", "graph"]
    found = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert (found["device"]["compile"], found["device"]["graph"]) == (True, True)
    assert found["timings"][0]["share_outside_networks"] is None  # they are no calls then


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_untrained_model_is_measured_from_start_to_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = asked(tmp_path, *TINY, "batch_sizes=[1,50]")
    path = tmp_path / "out" / "benchmark.json"
    assert outcome["output"] == str(path)
    assert [item.name for item in path.parent.iterdir()] == ["benchmark.json"]
    found = json.loads(path.read_text())
    assert (found["model"], found["size"], found["data"]) == ("caloinn", "tiny", "ds1_photons")
    assert found["weights"] == "untrained"
    assert found["device"]["threads"] == 1
    assert found["device"]["precision"] == "float32"
    module = checkpoint.build(tiny("caloinn"), spec_of("ds1_photons", None))
    number = sum(p.numel() for p in module.parameters() if p.requires_grad)
    assert found["parameters"] == {"training": number, "generation": number}
    one, fifty = found["timings"]
    assert one["repeats"] == fifty["repeats"] == 3
    assert outcome["ms/50"] == fifty["ms_per_event"]["median"]
    assert fifty["ms_per_event"]["median"] < one["ms_per_event"]["median"]
    assert 0.05 < one["peak_memory_gib"] < 8
    assert 0 < one["share_outside_networks"] < 1
    assert one["values_per_event"] == 368
    geant4 = found["geant4"]
    energies = spec_of("ds1_photons", None).field("incident_energy")
    assert factor(energies.unit, "GeV") * energies.low <= geant4["energy"]
    assert fifty["geant4_over_this"] == pytest.approx(
        geant4["ms"] / fifty["ms_per_event"]["median"]
    )
    grown = found["growth"]
    assert grown["between"] == [10, 50]
    assert grown["power"] < 1.5
    assert grown["gib"] == 24
    text = capsys.readouterr().out
    assert "untrained weights" in text
    assert "from 10 to 50 events the time of a batch grows as n^" in text
    assert text.splitlines()[-1].startswith(f"wrote {path}: ")
    (path.parent / "metrics.json").write_text('{"test/w1_mean": 1.0}')
    assert read_run(path.parent, "a").times["cpu", 50].value == outcome["ms/50"]


def test_a_gan_generates_with_fewer_parameters_than_it_trains() -> None:
    module = checkpoint.build(tiny("wgan3d"), spec_of("ild", None))
    assert 0 < count(module.used_parameters()) < count(module.parameters())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "needs either checkpoint=FILE or model=NAME"),
        (["checkpoint=a.ckpt", "model=caloinn"], "needs either checkpoint=FILE or model=NAME"),
        (["checkpoint=nowhere.ckpt"], "no checkpoint nowhere.ckpt"),
        (["model=caloinn"], "an untrained model needs data=NAME"),
        (["model=epic_fm", "data=jetnet30", "solver=heun"], "set model.solver"),
        ([*TINY, "graph=true"], "graph=true records what a card does, .*: set device=cuda"),
        (["model=caloinn", "data=jetnet30"], "does not fit jetnet30"),
        (["checkpoint=a", "batch_sizes=[0]"], r"whole numbers from 1, got \[0\]"),
        (["checkpoint=a", "batch_sizes=[]"], "batch_sizes must name one size at least"),
        (["checkpoint=a", "repeats=0"], "repeats must be a whole number from 1, got 0"),
        (["checkpoint=a", "events=-1"], "events must be a whole number from 1 or null, got -1"),
        (["checkpoint=a", "gib=0"], "gib must be a number above 0, got 0"),
        (["checkpoint=a", "seconds=0"], "seconds must be a number above 0, got 0"),
        (["checkpoint=a", "device=tpu"], "device must be cpu, cuda, cuda:NUMBER or mps, got 'tpu'"),
        (["checkpoint=a", "device=cuda:99"], "got 'cuda:99': torch sees [0-9]+ cards"),
    ],
)
def test_bad_requests_are_refused(tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        asked(tmp_path, *overrides)
    assert not (tmp_path / "out").exists()
