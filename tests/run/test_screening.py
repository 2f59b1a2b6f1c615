"""What `recommend --measure` measures: every candidate roughly, then those that can win."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.tables import frame, row, write

from mssbench import results
from mssbench.analysis.decision import boards
from mssbench.analysis.recommend import Question
from mssbench.errors import RunError
from mssbench.machine.possible import absent
from mssbench.records.cell import CELL_KEY
from mssbench.results.folder import RunFolder
from mssbench.run import anew, exchange, screening

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


@pytest.mark.parametrize("complete", [("eigh", "svd"), ()])
def test_a_candidate_measured_on_some_kinds_only_is_told_from_one_without_any_time(
    monkeypatch, complete
):
    """A finalist is in neither list, and all sentences call a method by the same name."""
    tables = {}

    def fake(chosen, path, *, minutes, fresh):
        made = []
        for cell in chosen.cells:
            key = identity(cell)
            begun = cell.forward != "pade" and cell.problem == EASY
            if begun or cell.forward in complete:
                seconds = {"eigh": 1.0, "svd": 1.1}.get(cell.forward, 9.0)
                condition = 40.0 if cell.problem == EASY else 1e6
                made.append(
                    row(
                        seconds,
                        phase="step",
                        gradient=1e-6,
                        root=1e-6,
                        condition=condition,
                        noise="quiet",
                        **key,
                    )
                )
            else:
                made.append(row(status="interrupted", phase="step", **key))
        tables[path] = SimpleNamespace(frame=frame(*made), path=path, facts={})

    monkeypatch.setattr(screening.results, "open", tables.__getitem__)
    said = []
    question = Question(16, 4, device="cpu", gradient=True)
    screening.measured(question, fake, said.append, fresh=False)
    untried, partly, second = said[1:]
    assert untried.startswith(
        "There was no time to measure 1 candidate: pade + lyapunov_newton_schulz. It is "
    )
    assert partly.startswith("There was no time to measure ")
    assert " candidates on every kind of matrix: " in partly
    chosen = second.partition(": ")[2].partition(": ")[2].split(", ")
    assert "eigh + loewner" in chosen
    named = partly.partition(": ")[2].partition(" and ")[0].split(", ")
    assert len(named) == 4
    assert not {*chosen} & {*named}
    assert "pade" not in partly


def rows_of(seconds, forwards=("eigh", "svd", "pade")):
    """Rows that answer the question of `repeated`, with two forwards or more."""
    for forward in forwards:
        for problem, condition in ((EASY, 40.0), (HARD, 1e6)):
            yield row(
                seconds,
                phase="forward",
                forward=forward,
                problem=problem,
                condition=condition,
                root=1e-6,
                size=16,
                batch=4,
                noise="quiet",
            )


def a_run(folder, *made, load):
    """Write a run that was measured at this load on two cores."""
    write(folder, *made)
    machine = {"e" * 12: {"cores": {"granted": 2}}}
    facts = {"environments": machine, "runs": {"r" * 12: {"load_start": [load] * 3}}}
    (folder / "environment.json").write_text(json.dumps(facts))


def repeated(path, measure):
    """The run of a question that is measured again, and what was said."""
    said = []
    exchange.repair(path)
    question = Question(16, 4, device="cpu")
    return anew.measured_anew(question, path, measure, said.append), said


@pytest.mark.parametrize(
    ("load", "new", "replaced"),
    [
        (0.1, rows_of(1.0, ("eigh", "svd")), True),
        (9.0, rows_of(1.0, ("eigh", "svd")), False),
        (9.0, rows_of(1.0), True),
        (9.0, [row(status="interrupted", problem=EASY, size=16, batch=4)], False),
    ],
    ids=["an-answer", "busy-and-fewer", "busy-and-as-many", "nothing"],
)
def test_earlier_rows_stay_until_there_are_better_ones(tmp_path, load, new, replaced):
    path = tmp_path / "asked"
    a_run(path, *rows_of(2.0), load=9.0)
    (path / "note.txt").write_text("mine")
    run, said = repeated(path, lambda folder: a_run(folder, *new, load=load))
    assert (run.path, [p.name for p in tmp_path.iterdir()]) == (path, ["asked"])
    assert {*run.frame["seconds_median"].dropna()} == {1.0 if replaced else 2.0}
    assert (path / "note.txt").read_text() == "mine"
    assert [f"The earlier rows stay in {path}." in text for text in said] == [True] * (not replaced)


def test_an_earlier_answer_stays_where_the_new_rows_give_none(tmp_path):
    path = tmp_path / "asked"
    a_run(path, *rows_of(2.0, ("eigh", "svd")), load=0.1)
    run, said = repeated(path, lambda folder: a_run(folder, *rows_of(1.0), load=9.0))
    assert {*run.frame["seconds_median"]} == {2.0}
    assert "no better answer: the machine was busy" in said[0]


class Killed(BaseException):
    """Stands for the end of the process, at a moment of our choice."""


@pytest.mark.parametrize("moment", ["measuring", "renamed", "deleting"])
def test_a_kill_while_it_is_measured_again_loses_nothing(tmp_path, monkeypatch, moment):
    path = tmp_path / "asked"
    a_run(path, *rows_of(2.0), load=9.0)

    def measure(folder):
        a_run(folder, *rows_of(1.0), load=0.1)
        if moment == "measuring":
            raise Killed

    def killed(*_, **__):
        raise Killed

    whole = Path.rename
    with monkeypatch.context() as patch:
        if moment == "deleting":
            patch.setattr(exchange, "delete_run", killed)
        if moment == "renamed":
            patch.setattr(Path, "rename", lambda p, to: killed() if to == path else whole(p, to))
        with pytest.raises(Killed):
            repeated(path, measure)

    exchange.repair(path)
    assert {*results.open(path).frame["seconds_median"]} == {1.0 if moment == "deleting" else 2.0}
    assert not (tmp_path / "asked-before").exists()


def test_rows_of_a_measurement_that_ctrl_c_ended_are_no_run(tmp_path):
    """Its rows would be taken for a run of this machine, and answer later questions."""
    path = tmp_path / "recommend-asked"
    a_run(path, *rows_of(2.0), load=9.0)

    def measure(folder):
        a_run(folder, *rows_of(1.0), load=0.1)
        raise KeyboardInterrupt

    said = []
    with pytest.raises(KeyboardInterrupt):
        anew.measured_anew(Question(16, 4, device="cpu"), path, measure, said.append)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert {*results.open(path).frame["seconds_median"]} == {2.0}
    assert said == [
        "The measurement ended early: its rows are not complete and were deleted again. The "
        f"earlier rows stay in {path}."
    ]


def test_a_folder_that_must_not_be_written_keeps_all_its_files(tmp_path):
    path, other = tmp_path / "asked", tmp_path / "asked-again"
    a_run(path, *rows_of(2.0), load=9.0)
    other.mkdir()
    (other / "suite.toml").write_text("of somebody else")

    def measure(folder):
        with RunFolder(folder, fresh=True):
            raise AssertionError

    with pytest.raises(RunError, match="contains other files"):
        repeated(path, measure)
    assert (other / "suite.toml").read_text() == "of somebody else"


def test_files_that_are_in_the_way_of_an_exchange_are_named_before_it(tmp_path):
    path, before = tmp_path / "asked", tmp_path / "asked-before"
    for folder in (path, before):
        a_run(folder, *rows_of(2.0), load=9.0)
        (folder / "note.txt").write_text("mine")
    with pytest.raises(RunError, match="asked-before has files that are in"):
        repeated(path, lambda folder: a_run(folder, *rows_of(1.0), load=0.1))
    assert [p.name for p in before.iterdir()] == ["note.txt"]


@pytest.mark.parametrize(
    ("name", "partner", "left"),
    [
        ("recommend-asked-again", "recommend-asked", True),
        ("recommend-asked-before", "recommend-asked", True),
        ("recommend-asked-before", "", False),  # the only copy of the rows
        ("recommend-asked", "", False),
        ("try-again", "try", False),  # a name that a user has chosen
    ],
)
def test_what_a_killed_process_left_behind_is_known_by_its_name(tmp_path, name, partner, left):
    for folder in filter(None, (name, partner)):
        (tmp_path / folder).mkdir()
    assert screening.is_left_behind(tmp_path / name) is left


def test_a_question_that_is_asked_again_is_measured_beside_its_earlier_rows(tmp_path, monkeypatch):
    """And whatever happens then, the earlier ones are there."""
    monkeypatch.chdir(tmp_path)
    question = Question(16, 4, device="cpu")
    path = screening._folder(question)
    a_run(path, *rows_of(2.0), load=9.0)
    seen = []

    def fake(chosen, folder, *, minutes, fresh):
        seen.append(folder)
        if len(seen) == 2:
            raise Killed
        made = [row(1.0, root=1e-6, condition=40.0, **identity(cell)) for cell in chosen.cells]
        write(folder, *(each | {"phase": "forward"} for each in made))

    with pytest.raises(Killed):
        screening.measured(question, fake, lambda _: None, fresh=True)
    assert seen[1] == path.with_name(f"{path.name}-again")
    assert {*results.open(path).frame["seconds_median"]} == {2.0}
