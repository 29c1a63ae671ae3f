from __future__ import annotations

import math
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from simulacra.core import UserError
from simulacra.formats.jetnet import jetnet, toy_jets
from simulacra.metrics.engine.score import Judged, NotRun, judged
from simulacra.metrics.protocols.jets_fpnd import activations, fpnd, fpnd_score
from simulacra.nn.particlenet import NEIGHBOURS, ParticleNet, load
from simulacra.physics.jets import JetObservables

SPEC = jetnet(30, ["t"])


def network(seed: int = 0) -> ParticleNet:
    torch.manual_seed(seed)
    found = ParticleNet()
    for name, value in found.named_buffers():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2.0)
        elif name.endswith("running_mean"):
            value.uniform_(-0.5, 0.5)
    return found.eval()


def seen(n: int, seed: int) -> Judged:
    return judged(toy_jets(SPEC, n, seed, 1), JetObservables(SPEC))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the published one, with random weights and the statistics of some jets."""
    folder, net = tmp_path_factory.mktemp("published"), network()
    state = dict(net.state_dict())
    # the public file also holds each edge network under the name of the convolution around it
    state |= {k.replace("edge_nets.0", "edge_convs.0.nn"): v for k, v in net.state_dict().items()}
    torch.save(state, folder / "pnet_state_dict.pt")
    found = activations(toy_jets(SPEC, 40, 1, 1).x, net)
    np.savetxt(folder / "t_mu.txt", found.mean(0))
    np.savetxt(folder / "t_sigma.txt", np.cov(found, rowvar=False))
    return folder


@pytest.fixture
def published(whole: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(whole, tmp_path, dirs_exist_ok=True)


def test_particlenet_is_the_average_over_neighbours_particle_by_particle() -> None:
    net = network()
    x = torch.randn(1, 20, 3, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = net(x)
        for jet, expected in zip(x, found, strict=True):
            now = jet
            for number, edge in enumerate(net.edge_nets):
                place = now[:, :2] if number == 0 else now
                rows = []
                for i in range(20):
                    order = (place - place[i]).square().sum(1).argsort().tolist()
                    near = [j for j in order if j != i][:NEIGHBOURS]
                    pairs = torch.stack([torch.cat([now[i], now[j] - now[i]]) for j in near])
                    rows.append(torch.cat([edge.model(pairs).mean(0), now[i]]))
                now = torch.stack(rows)
            torch.testing.assert_close(net.fc1(now.mean(0)), expected, rtol=1e-4, atol=1e-5)


def test_the_jets_of_the_statistics_score_zero_and_others_more(published: Path) -> None:
    same = fpnd_score(seen(5, 0), seen(40, 1), 0, str(published), ["t"])["fpnd"]
    other = fpnd_score(seen(5, 0), seen(40, 2), 0, str(published), ["t"])["fpnd"]
    assert same.value == pytest.approx(0, abs=1e-7)
    assert other.value > 100 * abs(same.value)
    net = load(published / "pnet_state_dict.pt")
    statistics = (np.loadtxt(published / f"t_{name}.txt") for name in ("mu", "sigma"))
    x = toy_jets(SPEC, 40, 2, 1).x
    assert fpnd(x, net, *statistics).value == pytest.approx(other.value, rel=1e-6)
    assert other.error is not None
    assert 0 < other.error < other.value


def test_only_generated_jets_count_for_the_floor_up_to_those_that_are_used(published: Path) -> None:
    found = fpnd_score(seen(5, 0), seen(40, 2), 0, str(published), ["t"])["fpnd"]
    assert found.factor((2000, 2000), (9000, 4000)) == pytest.approx(0.5)
    assert found.factor((100, 60_000), (100, 90_000)) == 1.0
    assert math.isnan(found.factor((9000, 1270), (9000, 2540)))  # 1,280 are five per activation


def test_what_is_missing_is_said_in_one_sentence(published: Path, tmp_path: Path) -> None:
    pair = seen(5, 0), seen(5, 1)
    with pytest.raises(NotRun, match="published weights"):
        fpnd_score(*pair, 0)
    with pytest.raises(NotRun, match="one of"):
        fpnd_score(*pair, 0, str(published), ["w"])
    with pytest.raises(NotRun, match="30 particles, got 150"):
        activations(torch.zeros(2, 150, 3), network())
    with pytest.raises(UserError, match="statistics"):
        fpnd_score(*pair, 0, str(published), ["g"])
    with pytest.raises(UserError, match="no file"):
        load(tmp_path / "none.pt")
    torch.save({"fc1.0.weight": torch.zeros(2, 2)}, tmp_path / "other.pt")
    with pytest.raises(UserError, match="missing or has another shape"):
        load(tmp_path / "other.pt")


def flipped(path: Path) -> None:
    """One bit of one weight."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"fc1.0.weight": 1}))


def listed(path: Path) -> None:
    torch.save([1], path)


def foreign(path: Path) -> None:
    torch.save(network(), path)


def diverged(path: Path) -> None:
    state = network().state_dict()
    state["fc1.0.weight"][3, 4] = torch.nan
    torch.save(state, path)


def texts(path: Path) -> None:
    torch.save(dict.fromkeys(network().state_dict(), "x"), path)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (flipped, "not a readable file of ParticleNet weights: the checksum of its record"),
        (cut, "not a readable file of ParticleNet weights: it does not end"),
        (emptied, "not a readable file of ParticleNet weights: the file is empty"),
        (pickled, "not a readable file of ParticleNet weights"),
        (listed, "not a readable file of ParticleNet weights: it holds a list"),
        (foreign, "was not loaded: it holds objects other than tensors"),
        (diverged, "values of fc1.0.weight that are not finite"),
        (texts, "missing or has another shape"),
    ],
)
def test_damaged_weights_are_one_sentence(
    damage: Callable[[Path], None], words: str, published: Path
) -> None:
    path = published / "pnet_state_dict.pt"
    damage(path)
    with pytest.raises(UserError, match=words) as said:
        fpnd_score(seen(5, 0), seen(5, 1), 0, str(published), ["t"])
    assert str(path) in str(said.value)
    assert "\n" not in str(said.value)


@pytest.mark.parametrize(
    "text", [b"", b"1 2 3\n", b"a b\n", b"\xff\xfe", b"nan\n" * 256, b"1\n1 2\n"]
)
@pytest.mark.filterwarnings("ignore:loadtxt. input contained no data")
def test_damaged_statistics_are_one_sentence(text: bytes, published: Path) -> None:
    (published / "t_mu.txt").write_bytes(text)
    with pytest.raises(UserError, match=r"t_mu\.txt holds no ParticleNet statistics: ") as said:
        fpnd_score(seen(5, 0), seen(5, 1), 0, str(published), ["t"])
    assert "\n" not in str(said.value)
