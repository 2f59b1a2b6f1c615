"""The table of `forward="auto"`: the default pair, or a clearly faster one that is as accurate."""

import json
from pathlib import Path

import pytest
from helpers.tables import frame, row

from mssbench import results
from mssbench.analysis import auto_table
from mssbench.methods import auto

EASY, HARD = "wishart(ratio=2)", "logspec(condition=1e6)"
CONDITION = {EASY: 40.0, HARD: 1e6}


class FakeRun:
    """A run in memory, as far as the table reads one."""

    name = "mine"

    def __init__(self, *rows, load=0.1, drift=0.0):
        self.frame = frame(*[r for one in rows for r in one])
        self.current, self.left_over = self.frame, set()
        self.path = Path("results/mine")
        facts = {"started": "2026-02-03T04:05:06", "load_start": [load], "drift": drift}
        environment = {"cpu": "a CPU", "cores": {"granted": 2}, "versions": {"torch": "2.13"}}
        self.facts = {"runs": {"r" * 12: facts}, "environments": {"e" * 12: environment}}


def line(forward, seconds, error=1e-4, *, backward="loewner", problems=(EASY, HARD), **more):
    errors = error if isinstance(error, dict) else dict.fromkeys(problems, error)
    return [
        row(
            seconds,
            phase="step",
            forward=forward,
            backward=backward,
            problem=problem,
            size=64,
            batch=16,
            gradient=e,
            root=1e-7,
            condition=CONDITION[problem],
            status="ok" if e < 0.1 else "inaccurate",
            noise="quiet",
            **more,
        )
        for problem, e in errors.items()
    ]


DEFAULT = line("eigh", 2.0)


def chosen(*rows, **machine):
    found = auto_table.answers([FakeRun(*rows, **machine)])
    assert len(found.choices) + found.unanswered == 1
    return found.choices[0]["forward"] if found.choices else None


def test_a_pair_that_is_clearly_faster_and_as_accurate_is_taken():
    assert chosen(DEFAULT, line("newton_schulz", 1.0), line("minimax", 1.5)) == "newton_schulz"


@pytest.mark.parametrize(
    "other",
    [
        line("newton_schulz", 1.9),  # not told apart
        line("newton_schulz", 2.5),
        line("newton_schulz", 1.0, {EASY: 1e-4, HARD: 5e-4}),  # five times the error of eigh
        line("newton_schulz", 1.0, {EASY: 1e-4, HARD: 0.5}),
        line("ott_jax", 1.0),  # of another package
        line("newton_schulz", 1.0, library="numpy"),
    ],
)
def test_else_it_is_the_default_pair(other):
    assert chosen(DEFAULT, other) == "eigh"


def test_rounding_is_no_error_to_be_preferred_for():
    least = line("eigh", 2.0, 1e-7)
    assert chosen(least, line("newton_schulz", 1.0, 9e-6)) == "newton_schulz"
    assert chosen(least, line("newton_schulz", 1.0, 2e-5)) == "eigh"


def test_without_the_default_pair_or_on_a_changed_machine_there_is_no_answer():
    fast = line("newton_schulz", 1.0)
    assert chosen(fast, line("minimax", 3.0)) is None
    assert chosen(DEFAULT, fast, drift=5.0) is None
    assert chosen(DEFAULT, fast, load=20.0) is None
    assert chosen(line("eigh", 2.0, problems=(EASY,)), line("svd", 3.0, problems=(EASY,))) is None
    broken = line("eigh", 2.0, {EASY: 1e-4, HARD: 0.5})
    assert chosen(broken, fast) is None


def test_only_roots_of_matrices_have_an_entry():
    """No function is asked for the root of features, or for a root times a vector, by itself."""
    rows = [*DEFAULT, *line("svd", 4.0)]
    for function in ("sqrt_x", "isqrt_b"):
        found = auto_table.answers([FakeRun([each | {"function": function} for each in rows])])
        assert (found.choices, found.unanswered) == ([], 0)


def test_an_entry_says_where_it_was_measured():
    (entry,) = auto_table.answers([FakeRun(DEFAULT, line("svd", 4.0))]).choices
    where = {"machine": "a CPU, torch 2.13", "date": "2026-02-03", "run": "mine", "seconds": 2.0}
    assert entry.items() >= where.items()
    assert {*auto.Conditions._fields} < {*entry}


def test_what_is_written_is_what_is_read(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "auto.json"
    auto_table.write(path, auto_table.answers([FakeRun(DEFAULT, line("newton_schulz", 1.0))]))
    assert not [p for p in path.parent.iterdir() if p != path], "nothing is left beside it"
    monkeypatch.setenv("MSSBENCH_AUTO", str(path))
    auto.forget()
    found = auto.choice(auto.Conditions("cpu", "sqrt", True, "float32", 64, 16))
    auto.forget()
    assert (found.forward, found.backward) == ("newton_schulz", "loewner")


@pytest.mark.slow
def test_the_shipped_table_is_that_of_the_committed_runs(pytestconfig):
    """`.ci/renew` writes it with the runs; a table that was edited by hand is found here."""
    folders = sorted((pytestconfig.rootpath / "results").glob("*/table.csv"))
    found = auto_table.answers([results.open(path.parent) for path in folders])
    assert json.loads(auto.SHIPPED.read_text())["choices"] == found.choices
    assert found.choices
