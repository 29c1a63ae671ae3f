from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from simulacra.callbacks.checkpoint import AtomicCheckpointIO
from simulacra.callbacks.ema import EMA
from simulacra.core import Batch, Conditions, Latent, Spec, UserError
from simulacra.nn.derived import Derived
from simulacra.training.generative import GenerativeModule
from simulacra.training.objective import Objective
from simulacra.training.optim import Optim
from simulacra.transforms.base import Batches, Transform

STEPS, DECAY, WARMUP = 6, 0.9, 4.0


class Identity(Transform):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.long))
        self.register_buffer("permutation", torch.tensor([3, 1, 0, 2]))

    def fit_statistics(self, batches: Batches) -> None:
        pass

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        self.count += 1  # a buffer that every step changes
        return Latent({"x": batch.x})

    def inverse(
        self, latent: Latent, cond: Conditions, generator: torch.Generator | None = None
    ) -> Batch:
        return Batch(latent.x["x"])


class Toy(GenerativeModule):
    """``weight`` follows its gradient of 1; ``critic`` is no part of the generator."""

    def __init__(self, spec: Spec, given: Sequence[str] | None = None) -> None:
        super().__init__(spec, given)
        self.transform = Identity()
        self.weight, self.critic = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.ones(2))
        self.history: list[Tensor] = []
        self.kept: list[tuple[Tensor, Tensor]] = []
        self.negative = Derived(torch.neg)

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        return None

    def used_parameters(self) -> list[nn.Parameter]:
        return [self.weight]

    def objectives(self) -> dict[str, Objective]:
        def loss(latent: Latent, generator: torch.Generator | None) -> dict[str, Tensor]:
            return {"loss": self.weight.sum() + self.critic.sum()}

        return {
            "all": Objective(
                loss, [self.weight, self.critic], Optim(lambda p: torch.optim.SGD(p, lr=0.1))
            )
        }

    def generate(self, cond: Conditions, generator: torch.Generator | None = None) -> Latent:
        raise NotImplementedError

    def on_train_batch_end(self, *args: object) -> None:
        self.history.append(self.weight.detach().clone())

    @torch.no_grad()
    def keep(self) -> None:
        """What follows from the weights, by the layer that keeps it and by itself."""
        self.kept.append((self.negative(self.weight).clone(), -self.weight))

    def on_validation_start(self) -> None:
        self.keep()  # before the average takes the place of the weights

    def on_validation_end(self) -> None:
        self.keep()  # before or after they are put back

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.validated = self.weight.detach().clone()
        self.keep()


@pytest.fixture
def fitted(tmp_path: object) -> Callable[[EMA], tuple[pl.Trainer, Toy]]:
    def fit(ema: EMA) -> tuple[pl.Trainer, Toy]:
        spec = Spec(name="toy", kind="layers", shape=(1,), unit="")
        module = Toy(spec).fit_transform([])
        batches = [Batch(torch.zeros(2, 1)) for _ in range(STEPS)]
        loader = DataLoader(batches, batch_size=None)
        trainer = pl.Trainer(
            max_epochs=1,
            accelerator="cpu",
            callbacks=[ema],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            plugins=[AtomicCheckpointIO()],
        )
        trainer.fit(module, loader, loader)
        return trainer, module

    return fit


def test_the_average_follows_its_formula(fitted: Callable[[EMA], tuple[pl.Trainer, Toy]]) -> None:
    _, module = fitted(EMA(DECAY, WARMUP))
    expected = torch.zeros(3)
    for n, now in enumerate(module.history):
        decay = min(DECAY, (1 + n) / (WARMUP + n))
        expected = decay * expected + (1 - decay) * now
    torch.testing.assert_close(
        module.weight.detach(), expected
    )  # after training the module holds it
    torch.testing.assert_close(module.validated, expected)  # and so it did in validation


def test_what_follows_from_the_weights_follows_the_average_when_it_takes_their_place(
    fitted: Callable[[EMA], tuple[pl.Trainer, Toy]],
) -> None:
    _, module = fitted(EMA(DECAY, WARMUP))
    module.keep()
    assert not torch.equal(module.kept[0][1], module.kept[1][1])  # live, then the average
    for found, expected in module.kept:
        assert torch.equal(found, expected)


def test_other_parameters_and_all_buffers_equal_the_live_ones(
    fitted: Callable[[EMA], tuple[pl.Trainer, Toy]],
) -> None:
    ema = EMA(DECAY, WARMUP)
    trainer, module = fitted(ema)
    checkpoint: dict = {"state_dict": module.state_dict()}
    ema.on_save_checkpoint(trainer, module, checkpoint)
    averaged, live = checkpoint["state_dict"], checkpoint["current_model_state"]
    assert averaged["transform.permutation"].tolist() == [3, 1, 0, 2]
    assert averaged["transform.permutation"].dtype == torch.long
    # validation follows the last update of the average, and counts on
    assert int(averaged["transform.count"]) == STEPS
    torch.testing.assert_close(averaged["critic"], torch.ones(2) - 0.1 * STEPS)
    assert averaged.keys() == live.keys()


@pytest.mark.parametrize(("decay", "warmup"), [(1.0, 10), (-0.1, 10), (0.9, 0.5)])
def test_impossible_averages_are_refused(decay: float, warmup: float) -> None:
    with pytest.raises(UserError, match="moving average"):
        EMA(decay, warmup)
