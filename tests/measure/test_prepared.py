"""A cell is made ready in one place, and cells of one batch share what they can."""

import gc
import weakref
from dataclasses import replace
from typing import Any

import pytest
from helpers.cells import CELL

from mssbench import problems
from mssbench.errors import Unsupported
from mssbench.measure import prepared as module
from mssbench.measure.instruments.sampling import Spent
from mssbench.measure.prepared import prepared
from mssbench.measure.session import Session


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was made anew: problems, truths and rotations, in order."""
    log: list[str] = []

    def noted(name: str) -> None:
        function = getattr(module, name)

        def call(*given: Any, **named: Any) -> Any:
            log.append(name)
            return function(*given, **named)

        monkeypatch.setattr(module, name, call)

    noted("truth_of")
    noted("Rotation")
    make = problems.make
    monkeypatch.setattr(problems, "make", lambda *a: log.append("make") or make(*a))
    return log


def ready(session: Session, **changes: Any) -> module.Prepared:
    with prepared(replace(CELL, **changes), session) as found:
        return found


def test_cells_that_differ_in_their_method_share_inputs_and_truth(made: list[str]) -> None:
    session = Session()
    first, second = ready(session), ready(session, forward="svd", options="")
    assert made == ["make", "truth_of", "Rotation"]
    assert first.rotation is second.rotation
    assert first.truth is second.truth


def test_each_library_has_inputs_of_its_own_and_one_holds_memory_at_a_time(
    made: list[str],
) -> None:
    session = Session()
    inputs = [weakref.ref(ready(session, library=x).rotation) for x in ("torch", "numpy", "torch")]
    gc.collect()
    assert made == ["make", "truth_of", "Rotation", "Rotation", "Rotation"]
    assert [x() is not None for x in inputs] == [False, False, True]


def test_what_is_written_into_an_input_does_not_reach_those_made_after_it(made: list[str]) -> None:
    session = Session()
    with pytest.raises(ZeroDivisionError), prepared(replace(CELL, library="numpy"), session) as x:  # noqa: PT012
        right = x.rotation.first.a.copy()
        x.rotation.first.a[:] = 0
        raise ZeroDivisionError
    again = ready(session, library="numpy").rotation.first.a
    assert (again == right).all()


@pytest.mark.parametrize(
    "change", [{"size": 5}, {"batch": 3}, {"seed": 1}, {"precision": "float32"}]
)
def test_another_batch_is_made_anew(made: list[str], change: dict[str, Any]) -> None:
    session = Session()
    ready(session)
    ready(session, **change)
    assert made.count("make") == made.count("Rotation") == made.count("truth_of") == 2


def test_each_function_has_a_truth_of_its_own(made: list[str]) -> None:
    session = Session()
    sqrt, isqrt = ready(session), ready(session, function="isqrt")
    assert made == ["make", "truth_of", "Rotation", "truth_of"]
    assert sqrt.truth is not isqrt.truth


def test_two_sessions_share_nothing(made: list[str]) -> None:
    assert ready(Session()).rotation is not ready(Session()).rotation


def test_inputs_are_made_anew_after_an_error(made: list[str]) -> None:
    session = Session()
    with pytest.raises(ZeroDivisionError), prepared(CELL, session):
        raise ZeroDivisionError
    ready(session)
    assert made == ["make", "truth_of", "Rotation", "Rotation"], "the reference stays"


def test_the_turn_of_inputs_begins_anew_for_each_cell() -> None:
    session = Session()
    order = []
    for _ in range(2):
        rotation = ready(session).rotation
        places = {id(x): i for i, x in enumerate(rotation.all)}
        order.append([places[id(rotation.next())] for _ in range(3)])
    assert order[0] == order[1]


def test_what_cannot_be_is_refused_before_anything_is_built(made: list[str]) -> None:
    with pytest.raises(Unsupported, match="does not exist in bfloat16"):
        ready(Session(), forward="eigh", options="", iterations=None, precision="bfloat16")
    assert not made


def test_the_truth_is_left_out_where_nobody_asks_for_it(made: list[str]) -> None:
    spent = Spent()
    with prepared(CELL, Session(), spent, verify=False) as found:
        assert found.truth is None
    assert "truth_of" not in made
    assert spent.problem > 0
