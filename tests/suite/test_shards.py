"""The shards of a suite: every cell in one of them, alike everywhere, and about the same work."""

import random
from collections import Counter
from dataclasses import replace

import pytest
from helpers import planted_trainings
from helpers.cells import CELL
from helpers.runs import load, write_suite

from mssbench.errors import SuiteError
from mssbench.methods import registry
from mssbench.records.cell import Cell
from mssbench.records.training import TrainingCell
from mssbench.suite import select, shards
from mssbench.suite.shards import Shard
from mssbench.suite.training import TrainingSuite


def many(groups: int, of_each: int, size: int = 8) -> list[Cell]:
    """Cells of several problems, each with the same number of methods."""
    return [
        replace(CELL, seed=seed, size=size, options=f"option={i}")
        for seed in range(groups)
        for i in range(of_each)
    ]


def work(cells: list[Cell]) -> float:
    return sum(map(shards._cost, cells))


@pytest.mark.parametrize("text", ["1/1", "2/4", " 3 / 3 "])
def test_a_shard_is_read_as_it_is_written(text: str) -> None:
    assert str(shards.parse(text)) == text.replace(" ", "")


@pytest.mark.parametrize(
    "text", ["0/4", "5/4", "1/0", "-1/4", "1", "a/b", "", "1/4/2", "1.5/4", "\u0662/\u0664"]
)
def test_other_texts_are_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(SuiteError, match=r"--shard .*1/\d"):
        shards.parse(text)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 16, 60])
def test_every_cell_is_in_one_shard_in_the_order_of_the_suite(count: int) -> None:
    cells = many(5, 12)
    dealt = shards.deal(cells, count)
    assert len(dealt) == count
    assert all(dealt)
    assert Counter(c for shard in dealt for c in shard) == Counter(cells)
    place = {cell: i for i, cell in enumerate(cells)}
    assert all([*map(place.get, shard)] == sorted(map(place.get, shard)) for shard in dealt)


def test_more_shards_than_cells_are_refused() -> None:
    with pytest.raises(SuiteError, match="only 4 cells"):
        shards.cells_of(Shard(1, 5), many(2, 2))


def test_the_order_of_the_cells_changes_no_shard() -> None:
    cells = many(7, 9) + many(3, 5, size=64)
    mixed = random.Random(0).sample(cells, len(cells))
    assert [*map(set, shards.deal(cells, 4))] == [*map(set, shards.deal(mixed, 4))]


def test_what_is_installed_changes_no_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node without a library, or without a plug-in, must deal the same cells to a shard."""
    cells = [*many(3, 6), replace(CELL, library="cupy", device="cuda", forward="of_a_plugin")]
    before = shards.deal(cells, 3)

    def nothing(*_: object) -> None:
        raise AssertionError("a shard must not depend on what is installed")

    monkeypatch.setattr(registry, "lookup", nothing)
    assert shards.deal(cells, 3) == before


def test_cells_with_the_same_matrices_stay_together_if_they_fit() -> None:
    dealt = shards.deal(many(8, 6), 4)
    homes = [{i for i, shard in enumerate(dealt) for c in shard if c.seed == s} for s in range(8)]
    assert all(len(home) == 1 for home in homes)


@pytest.mark.parametrize("count", [2, 3, 5, 8])
def test_no_shard_has_much_more_work_than_its_share(count: int) -> None:
    cells = many(4, 40) + many(1, 30, size=128)
    fair = work(cells) / count
    assert max(map(work, shards.deal(cells, count))) <= shards._MOST * fair + shards._cost(
        cells[-1]
    )


def test_a_shard_of_a_command_is_of_the_cells_that_its_condition_leaves(tmp_path) -> None:
    path = str(write_suite(tmp_path, "forward = ['numpy/eigh', 'numpy/svd']", seeds=4))
    parts = [
        select.choose(path, [], "forward == 'svd'", None, None, [], shard=f"{i}/2") for i in (1, 2)
    ]
    assert [len(part.cells) for part in parts] == [2, 2]
    assert not {*parts[0].cells} & {*parts[1].cells}
    assert {c.forward for part in parts for c in part.cells} == {"svd"}


def test_cells_of_other_shards_are_still_of_the_suite(tmp_path) -> None:
    suite = load(write_suite(tmp_path, "forward = ['numpy/eigh', 'numpy/svd']", seeds=4))
    shard = suite.sharded(Shard(1, 4))
    assert len(shard.cells) == 2
    assert shard.all_cell_ids == suite.all_cell_ids
    assert load(write_suite(tmp_path)).part() is None


def test_the_digest_tells_other_cells_apart() -> None:
    cells = many(2, 3)
    known = shards.digest(cells, {"passes": 1})
    assert known == shards.digest([*cells], {"passes": 1})
    assert known != shards.digest(cells[:-1], {"passes": 1})
    assert known != shards.digest(cells[::-1], {"passes": 1})
    assert known != shards.digest(cells, {"passes": 2})


def test_the_shards_of_a_suite_have_its_digest_whatever_their_limits_of_time(tmp_path) -> None:
    path = write_suite(tmp_path, "forward = ['numpy/eigh', 'numpy/svd']", seeds=4)
    suite = load(path)
    others = [load(path, *change).digest for change in (["timeout_seconds=3"], ["minutes=1"])]
    assert {suite.sharded(Shard(i, 2)).digest for i in (1, 2)} | {*others} == {suite.digest}
    assert load(path, "min_samples=7").digest != suite.digest
    assert load(path, "seed=0,1").digest != suite.digest


def trainings(epochs: int = 4) -> list[TrainingCell]:
    """Forty trainings: four methods of five seeds at two learning rates."""
    return [replace(cell, epochs=epochs) for cell in planted_trainings.cells()]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 40])
def test_every_training_is_in_one_shard_and_the_shares_are_fair(count: int) -> None:
    cells = trainings()
    dealt = shards.deal(cells, count)
    assert Counter(c for shard in dealt for c in shard) == Counter(cells)
    sizes = [len(shard) for shard in dealt]
    assert max(sizes) <= max(1.1 * len(cells) / count, 1) + 1
    assert min(sizes) >= 1
    mixed = random.Random(0).sample(cells, len(cells))
    assert [*map(set, shards.deal(mixed, count))] == [*map(set, dealt)]


@pytest.mark.parametrize("count", [2, 5, 10, 20])
def test_trainings_with_the_same_start_stay_together_if_they_fit(count: int) -> None:
    both = [replace(cell, task=task) for task in ("tex12", "digits") for cell in trainings()]
    homes = Counter(
        (number, cell.task, cell.seed, cell.learning_rate)
        for number, shard in enumerate(shards.deal(both, count))
        for cell in shard
    )
    assert set(homes.values()) == {4}


def test_the_cost_of_a_training_is_its_epochs() -> None:
    """Two tasks, of which one has trainings that are three times as long."""
    long = [replace(cell, task="digits") for cell in trainings(epochs=12)]
    dealt = shards.deal([*trainings(epochs=4), *long], 4)
    assert [sum(cell.epochs for cell in shard) for shard in dealt] == [160] * 4


def test_the_shards_of_a_suite_of_trainings_have_its_digest() -> None:
    cells = tuple(trainings())
    suite = TrainingSuite("one", "", {}, cells)
    for number in (1, 2):
        shard = suite.sharded(Shard(number, 2))
        part = shard.part()
        assert part is not None
        assert (part.name, part.cells, part.noun) == (f"shard {number} of 2", 40, "training")
        assert shard.digest == part.digest == suite.digest
        assert [cells[place] for place in part.places.values()] == [*shard.cells]
    assert suite.part() is None
    for other in (
        replace(suite, cells=cells[1:]),
        replace(suite, probes=True),
        replace(suite, robustness=True),
    ):
        assert other.digest != suite.digest
    with pytest.raises(SuiteError, match="there are only 40 trainings, so that 40 is the largest"):
        suite.sharded(Shard(1, 41))
    with pytest.raises(SuiteError, match="there is only 1 training, so that 1 is the largest"):
        replace(suite, cells=cells[:1]).sharded(Shard(2, 2))
