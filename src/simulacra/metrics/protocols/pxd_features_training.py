r"""How the networks behind :func:`~simulacra.metrics.protocols.pxd_features.sensor_features` were trained.

Each synthetic image has two questions: of which sensor it is, and of which kind: of the usual background, of
one with half or twice the rate, without two-photon pairs or without X rays, or of the usual one changed in a
way that generators are known for (:data:`CHANGES`). Both cross-entropies add. The events have a seed of their
own, so that no event of the data set is among them. To make a network anew (about ten minutes on one core)::

    from pathlib import Path
    from simulacra.formats.pxd import pxd_small
    from simulacra.metrics.protocols.pxd_features_training import Plan, train

    train(pxd_small(), Plan.of("pxd_small"), Path("pxd_small.pt"))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from simulacra.core import Spec
from simulacra.data.pxd_synthetic import PxdBackground
from simulacra.formats.pxd import THRESHOLD, PxdFormat
from simulacra.nn.sensor_net import SensorNet, save_net

USUAL = PxdBackground(seed=20_230_314)
BACKGROUNDS: Mapping[str, PxdBackground] = {
    "usual": USUAL,
    "half": replace(USUAL, scale=0.5),
    "double": replace(USUAL, scale=2.0),
    "no_pairs": replace(USUAL, without=["two_photon"]),
    "no_photons": replace(USUAL, without=["synchrotron"]),
}


def scaled(factor: float) -> Callable[[Tensor, torch.Generator], Tensor]:
    """All charges times a factor."""
    return lambda images, generator: images * factor


def blurred(images: Tensor, generator: torch.Generator) -> Tensor:
    """A fifth of each charge goes to the four neighbours."""
    kernel = torch.tensor([[0.0, 0.05, 0.0], [0.05, 0.8, 0.05], [0.0, 0.05, 0.0]])
    return functional.conv2d(images, kernel[None, None], padding=1)


def torn(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each row moves along the sensor by itself, so that clusters fall apart."""
    n, _, rows, cols = images.shape
    shift = torch.randint(cols, (n, 1, rows, 1), generator=generator)
    return images.gather(3, (torch.arange(cols) + shift) % cols)


def thinned(images: Tensor, generator: torch.Generator) -> Tensor:
    """A sixth of the pixels is lost."""
    return images * (torch.rand(images.shape, generator=generator) > 1 / 6)


def starved(images: Tensor, generator: torch.Generator) -> Tensor:
    """The smallest charges are lost."""
    return images * (images >= 1.5 * THRESHOLD)


CHANGES: Mapping[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "louder": scaled(1.12),
    "quieter": scaled(0.89),
    "blurred": blurred,
    "torn": torn,
    "thinned": thinned,
    "starved": starved,
}
"""What is done to images of the usual background; charges are then rounded and cut at the threshold."""
KINDS = (*BACKGROUNDS, *CHANGES)


@dataclass(frozen=True)
class Plan:
    """How a network is trained.

    Args:
        strides: Of its convolutions.
        events: Synthetic events of each background; a tenth as many more, but at least four, are reported on.
        steps: Steps of Adam.
        batch_size: Images per step.
        lr: Largest learning rate of a cycle.
        seed: Seed of weights, batches and changes.
    """

    strides: tuple[int, ...]
    events: int
    steps: int
    batch_size: int
    lr: float = 3e-3
    seed: int = 0

    @classmethod
    def of(cls, data: str) -> Plan:
        """Of the networks that come with the package."""
        return {
            "pxd": cls(strides=(4, 2, 2, 2), events=30, steps=900, batch_size=32),
            "pxd_small": cls(strides=(1, 2, 2, 2), events=160, steps=1500, batch_size=96),
        }[data]


class Images:
    """Images of all sensors of many events, kept as lists of fired pixels.

    Args:
        spec: The data set.
        start: Number of the first event.
        events: Events of each background.
    """

    def __init__(self, spec: Spec, start: int, events: int) -> None:
        self.spec, self.format = spec, PxdFormat(spec)
        self.pixels: list[Tensor] = []
        self.charges: list[Tensor] = []
        sensors, kinds = [], []
        for kind, background in enumerate(BACKGROUNDS.values()):
            wanted = replace(background, sensors=tuple(sorted(self.format.sensors)))
            for hits in wanted.events(start, events):
                image = self.format.reduce(hits).to_dense(self.format.sensors)[0].flatten(1)
                for place, row in enumerate(image):
                    fired = row.nonzero()[:, 0]
                    self.pixels.append(fired.int())
                    self.charges.append(row[fired])
                    sensors.append(place)
                    kinds.append(kind)
        self.sensor, self.kind = torch.tensor(sensors), torch.tensor(kinds)

    def __len__(self) -> int:
        return len(self.pixels)

    def batch(
        self, index: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Images ``(n, 1, rows, cols)``, each of the usual background changed with probability
        ``6 / 7``, and the answers.
        """
        images = torch.zeros(len(index), self.spec.shape[1] * self.spec.shape[2])
        for row, number in zip(images, index.tolist(), strict=True):
            row[self.pixels[number].long()] = self.charges[number]
        images = images.view(len(index), 1, *self.spec.shape[1:])
        kind = self.kind[index].clone()
        for number, change in enumerate(CHANGES.values()):
            left = len(CHANGES) + 1 - number
            chosen = (kind == 0) & (torch.rand(len(index), generator=generator) < 1 / left)
            if bool(chosen.any()):
                done = change(images[chosen], generator).round()
                images[chosen] = torch.where(done < THRESHOLD, 0.0, done)
                kind[chosen] = len(BACKGROUNDS) + number
        return images, (self.sensor[index], kind)

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Numbers of ``n`` images ``(n,)``, so that all kinds are about as frequent."""
        usual = (self.kind == 0).double()
        weight = usual * (1 + len(CHANGES)) + (1 - usual)
        return torch.multinomial(weight, n, replacement=True, generator=generator)


def train(spec: Spec, plan: Plan, path: Path) -> dict[str, float]:
    """Train a network, write it to a file, and return the shares of right answers on other events.

    Args:
        spec: The data set; its images must be as those of the network's.
        plan: How.
        path: The file.
    """
    generator = torch.Generator().manual_seed(plan.seed)
    images = Images(spec, 0, plan.events)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)  # of the first weights alone
        net = SensorNet((spec.shape[0], len(KINDS)), plan.strides)
    optimizer = torch.optim.AdamW(net.parameters(), lr=plan.lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, plan.lr, total_steps=plan.steps)
    for _ in range(plan.steps):
        x, answers = images.batch(images.draw(plan.batch_size, generator), generator)
        optimizer.zero_grad()
        loss(net.answers(x), answers).backward()
        optimizer.step()
        schedule.step()
    other = Images(spec, plan.events, max(4, plan.events // 10))
    found = report(net.eval(), other, generator)
    save_net(net, path)
    return found


def loss(logits: Sequence[Tensor], answers: Sequence[Tensor]) -> Tensor:
    """Sum of the cross-entropies of both questions."""
    sensor, kind = map(functional.cross_entropy, logits, answers)
    return sensor + kind


@torch.no_grad()
def report(net: SensorNet, images: Images, generator: torch.Generator) -> dict[str, float]:
    """Shares of right answers: ``sensor``, ``kind``, and of each kind ``kind/<name>``."""
    right: list[Tensor] = []
    kinds: list[Tensor] = []
    for index in images.draw(2000, generator).split(50):
        x, answers = images.batch(index, generator)
        found = [logits.argmax(1) for logits in net.answers(x)]
        right.append(torch.stack([f == a for f, a in zip(found, answers, strict=True)], 1))
        kinds.append(answers[1])
    share, kind = torch.cat(right).double(), torch.cat(kinds)
    return {
        "sensor": float(share[:, 0].mean()),
        "kind": float(share[:, 1].mean()),
        **{
            f"kind/{name}": float(share[kind == number, 1].mean())
            for number, name in enumerate(KINDS)
        },
    }
