"""What `recommend --measure` measures: every candidate roughly, then those that can win."""

from types import SimpleNamespace

import pytest
from helpers.tables import frame, row

from mssbench.analysis.decision import boards
from mssbench.analysis.recommend import Question
from mssbench.errors import RunError
from mssbench.machine.possible import absent
from mssbench.records.cell import CELL_KEY
from mssbench.run import screening

EASY, HARD = "wishart(ratio=2)", "logspec(condition=1e6)"


def identity(cell):
    """The columns of a row that name its cell, but for the seed."""
    return {name: getattr(cell, name) for name in CELL_KEY if name != "seed"}


def test_the_finalists_are_right_and_near_the_fastest_right_one():
    made = [
        row(
            seconds,
            status="ok" if error < 0.1 else "inaccurate",
            phase="step",
            forward=forward,
            backward="loewner",
            problem=EASY,
            condition=40.0,
            gradient=error,
            root=1e-6,
            size=64,
            library=library,
            noise="quiet",
        )
        for forward, seconds, error, library in (
            ("taylor", 0.5, 0.9, "torch"),
            ("eigh", 1.0, 1e-6, "torch"),
            ("svd", 1.9, 1e-6, "torch"),
            ("pade", 2.1, 1e-6, "torch"),
            ("eigh", 0.1, 1e-6, "numpy"),
        )
    ]
    (board,) = boards(frame(*made))
    assert [line.row["forward"] for line in screening.finalists(board)] == ["eigh", "svd"]
    busy = screening.finalists(board, believed=False)
    assert [line.row["forward"] for line in busy] == ["eigh", "svd", "pade"]
    (alone,) = boards(frame(*(r for r in made if r["forward"] in ("eigh", "pade", "taylor"))))
    assert [line.row["forward"] for line in screening.finalists(alone)] == ["eigh", "pade"]
    (only,) = boards(frame(*(r for r in made if r["forward"] in ("eigh", "taylor"))))
    assert [line.row["forward"] for line in screening.finalists(only)] == ["eigh", "taylor"]
    (wrong,) = boards(frame(*(r | {"status": "inaccurate"} for r in made)))
    assert len(screening.finalists(wrong)) == 4


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("asked", "problems"),
    [
        ({}, [EASY, HARD, "wishart(ratio=0.766)"]),
        ({"condition": 1e4}, ["logspec(condition=10000)"]),
        ({"rank": 64}, ["wishart(ratio=0.25)"]),
        ({"rank": 256}, [EASY, HARD, "wishart(ratio=0.766)"]),
    ],
)
def test_what_is_measured_is_what_was_asked_for(monkeypatch, asked, problems):
    """Both suites, without measuring: a rough look at a small batch, then the batch asked for."""
    seen = []

    tables = {}

    def fake(chosen, path, *, minutes, fresh):
        seen.append(
            SimpleNamespace(
                cells=chosen.cells,
                minutes=minutes,
                fresh=fresh,
                path=path,
                passes=chosen.policy.passes,
            )
        )
        made = [
            row(
                1.0 + len(cell.forward),
                phase="step",
                gradient=1e-6,
                root=1e-6,
                condition=40.0,
                noise="quiet",
                **identity(cell),
            )
            for cell in chosen.cells
        ]
        tables[path] = SimpleNamespace(frame=frame(*made), path=path, facts={})

    monkeypatch.setattr(screening.results, "open", tables.__getitem__)
    said = []
    question = Question(256, 64, "float64", "cpu", gradient=True, **asked)
    screening.measured(question, fake, said.append, fresh=True)
    assert [text[:7] for text in said] == ["1 of 2:", "2 of 2:"]
    rough, final = seen
    for each, batch in ((rough, 2), (final, 64)):
        cells = each.cells
        assert {c.problem for c in cells} == set(problems)
        assert {(c.size, c.batch, c.precision, c.device) for c in cells} == {
            (256, batch, "float64", "cpu")
        }
        assert "none" not in {c.backward for c in cells}
    assert (rough.minutes, rough.passes, rough.fresh) == (0.5, 1, False)
    assert 0.9 < final.minutes <= 1
    assert (final.passes, final.fresh) == (2, True)
    assert len({(c.forward, c.backward, c.iterations) for c in final.cells}) <= 5
    assert len(final.cells) < len(rough.cells) / 2


@pytest.mark.parametrize(("rough", "second"), [(3.0, 57.0), (24.0, 36.0), (40.0, 36.0)])
def test_both_looks_take_a_minute_and_what_there_was_no_time_for_is_named(
    monkeypatch, rough, second
):
    """A minute in all; a first look that took longer than it may leaves the second its least."""
    now, given, tables = [100.0], [], {}

    def fake(chosen, path, *, minutes, fresh):
        given.append(60 * minutes)
        late = {"torch/svd"} if len(given) == 1 else set()
        made = []
        for cell in chosen.cells:
            key = identity(cell)
            if f"{cell.library}/{cell.forward}" in late:
                made.append(row(status="interrupted", phase="forward", **key))
            else:
                condition = 40.0 if cell.problem == EASY else 1e6
                made.append(row(1.0, phase="forward", root=1e-6, condition=condition, **key))
        tables[path] = SimpleNamespace(frame=frame(*made), path=path, facts={})
        now[0] += rough

    monkeypatch.setattr(screening.results, "open", tables.__getitem__)
    monkeypatch.setattr(screening.time, "monotonic", lambda: now[0])
    said = []
    question = Question(16, 4, device="cpu")
    screening.measured(question, fake, said.append, fresh=False)
    assert given == pytest.approx([30.0, second])
    assert said[1] == (
        "There was no time to measure 1 candidate: svd. It is left out, though it might win."
    )


def test_what_cannot_run_here_is_no_candidate_and_the_exact_pair_is_always_compared(monkeypatch):
    seen, tables = [], {}

    def fake(chosen, path, *, minutes, fresh):
        seen.append(chosen.cells)
        made = []
        for cell in chosen.cells:
            seconds = 9.0 if cell.forward == "eigh" else 1.0  # it could not win
            made.append(
                row(
                    seconds,
                    phase="step",
                    gradient=1e-6,
                    root=1e-6,
                    condition=40.0,
                    noise="quiet",
                    **identity(cell),
                )
            )
        tables[path] = SimpleNamespace(frame=frame(*made), path=path, facts={})

    monkeypatch.setattr(screening.results, "open", tables.__getitem__)
    said = []
    question = Question(64, 16, device="cpu", gradient=True)
    screening.measured(question, fake, said.append, fresh=False)
    rough, final = seen
    assert all(absent(cell) is None for cell in rough)
    assert "fused" not in {cell.forward for cell in rough}
    assert ("eigh", "loewner") in {(cell.forward, cell.backward) for cell in final}
    assert said[1].endswith("eigh + loewner for comparison")


def test_where_no_candidate_can_run_the_reasons_are_named():
    with pytest.raises(RunError, match=r"no candidate can be measured here: .*tf32"):
        screening.measured(
            Question(64, 16, "tf32", "cpu"), lambda *_, **__: None, lambda _: None, fresh=False
        )
