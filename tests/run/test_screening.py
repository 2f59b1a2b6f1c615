"""What `recommend --measure` measures: every candidate roughly, then those that can win."""

from types import SimpleNamespace

import pytest
from helpers.tables import frame, row

from mssbench.analysis.decision import boards
from mssbench.analysis.recommend import Question
from mssbench.run import screening

EASY, HARD = "wishart(ratio=2)", "logspec(condition=1e6)"


def test_the_finalists_are_right_and_near_the_fastest_right_one():
    made = [
        row(seconds, status="ok" if error < 0.1 else "inaccurate", phase="step", forward=forward,
            backward="loewner", problem=EASY, condition=40.0, gradient=error, root=1e-6, size=64,
            library=library, noise="quiet")
        for forward, seconds, error, library in (
            ("taylor", 0.5, 0.9, "torch"), ("eigh", 1.0, 1e-6, "torch"),
            ("svd", 1.9, 1e-6, "torch"), ("pade", 2.1, 1e-6, "torch"), ("eigh", 0.1, 1e-6, "numpy"),
        )
    ]  # fmt: skip
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
        seen.append(SimpleNamespace(cells=chosen.cells, minutes=minutes, fresh=fresh, path=path,
                                    passes=chosen.policy.passes))  # fmt: skip
        made = [
            row(1.0 + len(cell.forward), phase="step", gradient=1e-6, root=1e-6, condition=40.0,
                noise="quiet", **{k: getattr(cell, k) for k in (
                    "library", "forward", "backward", "function", "problem", "size", "batch",
                    "iterations", "backward_iterations", "options", "precision", "device")})
            for cell in chosen.cells
        ]  # fmt: skip
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
    assert (rough.minutes, rough.passes, rough.fresh) == (None, 1, False)
    assert (final.minutes, final.passes, final.fresh) == (1, 2, True)
    assert len({(c.forward, c.backward, c.iterations) for c in final.cells}) <= 5
    assert len(final.cells) < len(rough.cells) / 2
