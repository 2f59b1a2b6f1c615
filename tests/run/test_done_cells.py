"""Cells with equal rows are judged once; what their rows differ in still counts."""

from types import SimpleNamespace
from typing import Any

import pytest
from helpers.tables import row

from mssbench.records.cell import CELL_KEY, Cell
from mssbench.records.policy import Policy
from mssbench.run import resume


def cell_of(made: dict[str, Any]) -> Cell:
    return Cell(**{name: made[name] for name in CELL_KEY})


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Returns the seeds of the cells that are done, given a row for each."""
    monkeypatch.setattr(resume, "known_code_hash", lambda _: "c0de")

    def done(*made: dict[str, Any], retry: tuple[str, ...] = ()) -> set[int]:
        cells = [cell_of(each) for each in made]
        rows = {c.cell_id: [each] for c, each in zip(cells, made, strict=True)}
        suite: Any = SimpleNamespace(policy=Policy(passes=2), cells=cells)
        found = resume.done_cells(rows, suite, retry, set())
        return {cell.seed for cell in cells if cell.cell_id in found}

    return done


def measured(seed: int, **changes: Any) -> dict[str, Any]:
    made = row(1e-3, seed=seed, backward="none", phase="forward")
    return made | {"code_hash": "c0de", "passes": "2"} | changes


def test_each_difference_between_rows_is_seen(judge: Any) -> None:
    assert judge(
        measured(0),
        measured(1, code_hash="0ther"),
        measured(2, passes="1"),
        measured(3, status="interrupted"),
        measured(4, phase="step"),
        measured(5),
    ) == {0, 5}
    assert judge(measured(0, status="diverged"), measured(1), retry=("diverged",)) == {1}


def test_rows_of_an_older_table_lack_columns(judge: Any) -> None:
    older = measured(0, code_hash="0ther")
    del older["passes"]
    assert judge(older, measured(1)) == {1}
