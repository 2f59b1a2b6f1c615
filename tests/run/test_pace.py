"""A run that has a limit takes fewer samples before it leaves cells out."""

import pytest

from mssbench.engines.events import Finished
from mssbench.records.cell import Cell
from mssbench.run.pace import Pace

LEAST = 0.1
RESERVE = 0.05


def cell(seed: int = 0) -> Cell:
    return Cell("numpy", "eigh", "none", "sqrt", "p", 4, 2, None, None, "", "float64", "cpu", seed)


class Machine:
    """Cells of `fixed` seconds, and `scaled` seconds more at the full share, on a clock of ours."""

    def __init__(self, limit: float | None, fixed: float, scaled: float) -> None:
        self.now, self.fixed, self.scaled = 100.0, fixed, scaled
        self.shares: list[float] = []
        self.pace = Pace(limit, self.now, lambda: self.now)

    def run(self, count: int) -> float:
        """Measure so many cells; the seconds they took."""
        begun = self.now
        for number in range(count):
            one = cell(seed=number)
            share = self.pace.share(one, count - number)
            self.shares.append(share)
            sampling = self.scaled * share
            self.now += self.fixed + sampling
            spent = {"samples": 0.75 * sampling, "warmup": 0.25 * sampling}
            spent["total"] = self.fixed + sampling
            self.pace.learn(Finished(one, [], [], spent))
        return self.now - begun


def test_a_run_that_has_time_takes_all_of_the_policy() -> None:
    for limit in (None, 200.0):
        machine = Machine(limit, 0.5, 1.0)
        assert machine.run(100) == pytest.approx(150.0)
        assert set(machine.shares) == {1.0}


@pytest.mark.parametrize("fixed", [0.0, 0.2, 0.5])
def test_a_run_that_would_not_end_in_time_ends_in_it_with_all_cells(fixed: float) -> None:
    machine = Machine(100.0, fixed, 2.0)
    taken = machine.run(100)
    assert 0.9 * 100 <= taken <= 100, "it uses its time, and no more"
    assert min(machine.shares) > LEAST


def test_what_no_share_can_shorten_is_not_hurried_for_nothing() -> None:
    """Cells of 2 s each do not fit into 1 s: the shares go no lower than what a median needs."""
    machine = Machine(100.0, 2.0, 1.0)
    assert machine.run(100) > 200
    assert min(machine.shares) == LEAST


def test_time_that_was_saved_goes_to_the_cells_that_are_left() -> None:
    """The references of a first pass are made once; the second pass has their time for samples."""
    machine = Machine(100.0, 0.8, 1.0)
    for number in range(50):
        one = cell(seed=number)
        share = machine.pace.share(one, 100 - number)
        machine.now += 0.8 + share
        machine.pace.learn(Finished(one, [], [], {"samples": share, "total": 0.8 + share}))
    slow = machine.pace.share(cell(), 50)
    machine.now -= 20
    assert machine.pace.share(cell(), 50) > slow + 0.3


def test_a_cell_that_was_refused_takes_no_time_and_is_counted() -> None:
    machine = Machine(50.0, 0.0, 1.0)
    one = cell()
    machine.pace.share(one, 100)
    machine.pace.learn(Finished(one, [], [], {"samples": 1.0, "total": 1.0}))
    machine.now += 1.0
    alone = machine.pace.share(one, 98)
    machine.pace.learn(Finished(cell(seed=1), [], [], {}))
    assert alone == pytest.approx((1 - RESERVE) * 49 / 98)
    assert machine.pace.share(one, 97) == pytest.approx(2 * (1 - RESERVE) * 49 / 97)
