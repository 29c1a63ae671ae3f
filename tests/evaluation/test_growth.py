import pytest

from simulacra.evaluation.growth import MIB, Growth, growth
from simulacra.evaluation.timing import GIB, Trial

START = Trial(0, 0.0, 300 * MIB)


def trials(power: float, per_event: float) -> list[Trial]:
    return [
        START,
        *(Trial(n, 1e-3 * n**power, (300 + per_event * n) * MIB) for n in (1, 10, 30, 100)),
    ]


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_power_and_memory_are_those_of_the_law(power: float) -> None:
    found = growth(trials(power, 2.0), 1.0)
    assert found is not None
    assert found.between == (10, 100)  # 30 is more than a quarter of 100
    assert found.power == pytest.approx(power)
    assert found.mib == pytest.approx(2.0)
    assert found.largest == (GIB // MIB - 300) // 2


@pytest.mark.parametrize("per_event", [0.0, 0.05])  # 0.05 x 90 MiB: the reserve of an allocator
def test_memory_that_does_not_grow_bounds_no_batch(per_event: float) -> None:
    found = growth(trials(1.0, per_event), 24.0)
    assert found is not None
    assert found.largest is None
    assert str(found).endswith("and its memory does not")


def test_what_is_too_large_already_is_not_called_negative() -> None:
    found = growth(trials(1.0, 2000.0), 1.0)
    assert found is not None
    assert found.largest == 0


def test_a_single_batch_tells_nothing() -> None:
    assert growth([START], 24.0) is None
    assert growth([START, Trial(100, 1.0, 400 * MIB)], 24.0) is None
    assert growth([START, Trial(50, 1.0, 400 * MIB), Trial(100, 1.0, 400 * MIB)], 24.0) is None


def test_the_sentence_gives_all_figures() -> None:
    text = str(Growth((10, 100), 0.983, 0.4213, 24.0, 58_000))
    assert text == (
        "from 10 to 100 events the time of a batch grows as n^0.98, its memory by 0.421 MiB each: "
        "24 GiB hold 58,000"
    )
