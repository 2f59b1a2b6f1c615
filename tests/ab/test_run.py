"""`ab` from end to end: with workers that take no time, and once with real ones."""

import itertools
import json
import math
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pytest
from helpers.root import ROOT
from helpers.runs import in_time, load, relatives, stand_in, until, write_suite
from helpers.tables import CELL, called

from mssbench.ab import run as ab
from mssbench.ab.duel import Arm, ArmSamples, Contest, Duel
from mssbench.ab.effects import BASE, NEW, NULL, effect, evidence_of
from mssbench.ab.run import Plan
from mssbench.ab.verdicts import Notes
from mssbench.cli import ab as ab_
from mssbench.compare import rows
from mssbench.compare.judgement import Judged
from mssbench.compare.verdict import Outcome
from mssbench.engines import slots
from mssbench.engines.slots import Slot
from mssbench.engines.start import Setup
from mssbench.errors import GateError
from mssbench.machine.devices import THREAD_SETTINGS
from mssbench.records.cell import Cell
from mssbench.suite import thresholds

MARK = "    x, root_c = normalized(a, norm)"
TWO = "forward = ['numpy/eigh', 'numpy/svd']"


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Twelve cells: two methods, six seeds."""
    return write_suite(tmp_path, TWO, seeds=6)


def found(suite: Path, base: str, new: str, **more: Any) -> Judged:
    cells = load(suite).cells
    settings = {"policy": {}, "max_error": 0.1}
    arms = [
        Setup(settings, python=python, timeout_seconds=60, isolated=True) for python in (base, new)
    ]
    return ab.run(Plan(ab.contests(cells, cells), *arms, "cpu", **more))


def verdicts(result: Judged, forward: str | None = None) -> set[str]:
    return {
        str(c.verdict)
        for c in result.judgements
        if forward is None or c.pair.row["forward"] == forward
    }


def test_identical_arms_pass(tmp_path: Path, suite: Path) -> None:
    python = stand_in(tmp_path, process=0.003, log=str(tmp_path / "log"))
    result = found(suite, python, python)
    assert result.outcome is Outcome.PASS, result.judgements
    assert verdicts(result) <= {"same", "unflagged"}
    assert result.null.rows == 8
    assert result.null.floor < 0.02
    lines = in_time(tmp_path / "log")
    workers = {pid for _, word, pid, *_ in lines if word == "hold"}
    assert len(workers) == 3 * 3  # base, new and base again, fresh in each of three pairs
    sampling = [pid for _, word, pid, *_ in lines if word == "sample"]
    turns = sum(x != y for x, y in itertools.pairwise(sampling))
    assert turns > len(sampling) / 3  # in turn, and not one after the other
    assert turns < len(sampling) - 12  # whose turn it is, chance decides: nobody is always second


@pytest.mark.slow
def test_a_slower_method_is_found_and_no_other_is(tmp_path: Path, suite: Path) -> None:
    base = stand_in(tmp_path, process=0.003)
    new = stand_in(tmp_path, "slow", process=0.003, slower={"svd": 1.06}, log=str(tmp_path / "log"))
    result = found(suite, base, new)
    assert result.outcome is Outcome.REGRESSION
    assert verdicts(result, "svd") == {"slower"}
    assert "slower" not in verdicts(result, "eigh")
    slow = next(c for c in result.judgements if c.verdict == "slower")
    assert slow.ratio == pytest.approx(1.06, rel=0.02)
    assert slow.low < slow.ratio < slow.high
    assert 0.029 < slow.detectable < 0.06
    held = (tmp_path / "log").read_text().count("hold")
    assert held == 3 * 12 + 9 * 6  # nine fresh pairs, of what was flagged alone


@pytest.mark.gate
def test_a_faster_method_passes(tmp_path: Path, suite: Path) -> None:
    base = stand_in(tmp_path)
    result = found(suite, base, stand_in(tmp_path, "fast", slower={"svd": 0.9}))
    assert result.outcome is Outcome.PASS
    assert verdicts(result, "svd") == {"faster"}


@pytest.mark.sampled(slow=1)
@pytest.mark.parametrize(
    ("values", "word"),
    [
        pytest.param({"root_error": 3e-6}, "root_error", marks=pytest.mark.gate),
        pytest.param({"products": 4.0}, "products", marks=pytest.mark.gate),
    ],
)
def test_a_worse_answer_is_a_regression_however_fast(
    tmp_path: Path, suite: Path, values: dict[str, float], word: str
) -> None:
    new = stand_in(tmp_path, "worse", values=values, slower={"eigh": 0.5, "svd": 0.5})
    result = found(suite, stand_in(tmp_path), new)
    assert result.outcome is Outcome.REGRESSION
    assert verdicts(result) == {"worse"}
    assert word in result.judgements[0].reason
    assert result.judgements[0].ratio == pytest.approx(0.5, rel=0.05)  # its time is told as well


@pytest.mark.exhaustive
@pytest.mark.gate
def test_a_time_may_grow_by_what_somebody_allows(tmp_path: Path, suite: Path) -> None:
    base, new = stand_in(tmp_path), stand_in(tmp_path, "slow", slower={"svd": 1.15})
    limits = tuple(thresholds.of_words(["seconds:20%"]))
    assert found(suite, base, new, rules=limits).outcome is Outcome.PASS
    limits = tuple(thresholds.of_words(["seconds:20%", "numpy/svd:seconds:10%"]))
    result = found(suite, base, new, rules=limits)
    assert result.outcome is Outcome.REGRESSION
    assert verdicts(result, "svd") == {"slower"}


@pytest.mark.slow
def test_limits_of_counts_and_errors_hold_in_ab_too(tmp_path: Path, suite: Path) -> None:
    base, new = stand_in(tmp_path), stand_in(tmp_path, "more", values={"products": 4.0})
    limits = tuple(thresholds.of_words(["products:50%"]))
    assert found(suite, base, new, rules=limits).outcome is Outcome.PASS
    for text, why in (
        ("torch/x:products:3x", "limits nothing"),
        ("launches:3x", "limits nothing"),
        ("first_call_seconds:3x", "`seconds` is the only time"),
        ("seconds:1%", "no less than 3 %"),
    ):
        with pytest.raises(GateError, match=f"'{text}'.*{why}"):
            found(suite, base, new, rules=tuple(thresholds.of_words([text])))


@pytest.mark.exhaustive
@pytest.mark.gate
def test_a_limit_of_another_time_loosens_nothing(tmp_path: Path, suite: Path) -> None:
    """As a suite may have one, which `check` heeds."""
    base, new = stand_in(tmp_path), stand_in(tmp_path, "slow", slower={"svd": 1.3})
    document = {"check": {"fail_on": ["first_call_seconds:10x"]}}
    result = found(suite, base, new, rules=tuple(thresholds.of_suite(document)))
    assert verdicts(result, "svd") == {"slower"}


@pytest.mark.slow
def test_counts_of_other_releases_are_not_compared(tmp_path: Path, suite: Path) -> None:
    base = stand_in(tmp_path, versions={"torch": "1"})
    new = stand_in(tmp_path, "new", versions={"torch": "2"}, values={"products": 4.0})
    assert found(suite, base, new).outcome is Outcome.PASS


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    "deed",
    [
        "crashed",
        "exit",
        "hang",
        pytest.param("raise", marks=pytest.mark.slow),
        pytest.param("hang_held", marks=pytest.mark.slow),
    ],
)
def test_an_arm_that_fails_is_broken_and_the_others_are_compared(
    tmp_path: Path, suite: Path, deed: str
) -> None:
    log = tmp_path / "log"
    new = stand_in(tmp_path, "broken", do={"svd": deed}, log=str(log))
    small = load(suite, "seed=0").cells
    settings = {"policy": {}, "max_error": 0.1}
    timeout = 1 if "hang" in deed else 60
    arms = [
        Setup(settings, python=python, timeout_seconds=timeout, isolated=True)
        for python in (stand_in(tmp_path), new)
    ]
    result = ab.run(Plan(ab.contests(small, small), *arms, "cpu"))
    assert result.outcome is Outcome.BROKEN
    assert verdicts(result, "svd") == {"broken"}
    assert verdicts(result, "eigh") <= {"same", "unflagged"}
    held = [line for line in log.read_text().splitlines() if "hold" in line and "svd" in line]
    # What has failed is not asked again in the next pair. Its process had served another cell
    # before, so that a death is met again in a fresh one.
    assert len(held) == (2 if deed == "exit" else 1)


@pytest.mark.slow
def test_a_cell_that_new_alone_has_may_not_crash(tmp_path: Path, suite: Path) -> None:
    cells = load(suite).cells
    arms = [
        Setup({"policy": {}}, python=stand_in(tmp_path, name, do={"svd": deed}), isolated=True)
        for name, deed in (("a", "ok"), ("b", "crashed"))
    ]
    old = [c for c in cells if c.forward == "eigh"]
    result = ab.run(Plan(ab.contests(old, cells), *arms, "cpu"))
    assert verdicts(result, "svd") == {"broken"}
    assert result.outcome is Outcome.BROKEN
    result = ab.run(Plan(ab.contests(old, cells), arms[0], arms[0], "cpu"))
    assert verdicts(result, "svd") == {"added"}
    assert result.outcome is Outcome.PASS


class FakeDuel:
    """Pairs of processes that take no time. script: pair, contest, arm -> seconds, or None."""

    facts: ClassVar = {}
    codes: ClassVar = {}
    script: Callable[[str, str, str], float | None] = staticmethod(lambda *_: None)
    asked: ClassVar[list[tuple[str, str, tuple[str, ...]]]] = []

    def __init__(self, arms: Any, device: str, rounds: int, seed: str, *_: Any) -> None:
        self.pair = seed.partition(" ")[2]

    def __enter__(self) -> "FakeDuel":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def sweep(self, contests: Any) -> Any:
        for contest in contests:
            FakeDuel.asked.append((self.pair, contest.key, tuple(contest.cells)))
            taken = {}
            for arm, cell in contest.cells.items():
                seconds = FakeDuel.script(self.pair, contest.key, arm)
                status = "ok" if seconds else "crashed"
                row = CELL | {
                    "status": status,
                    "reason": "",
                    "seed": cell.seed,
                    "code_hash": "c0de",
                }
                row |= dict.fromkeys((*rows.ERRORS, *rows.COUNTS, "fingerprint"))
                times = (seconds,) * 5 if seconds else ()
                taken[arm] = ArmSamples(row, times, times, 1 if seconds else 0)
            yield contest.key, taken


def faked(
    monkeypatch: pytest.MonkeyPatch,
    script: Any,
    cells: int = 20,
    duel: type[FakeDuel] = FakeDuel,
    **more: Any,
) -> Judged:
    monkeypatch.setattr(ab, "Duel", duel)
    monkeypatch.setattr(FakeDuel, "script", staticmethod(script))
    FakeDuel.asked.clear()
    contests = [
        Contest(f"{i}", dict.fromkeys((BASE, NEW), replace(Cell(**CELL), seed=i)))
        for i in range(cells)
    ]
    return ab.run(Plan(tuple(contests), Setup({}), Setup({}), "cpu", **more))


def test_where_only_the_null_arm_fails_the_row_is_compared_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = faked(monkeypatch, lambda _pair, _key, arm: None if arm == NULL else 1e-3)
    assert verdicts(result) == {"unflagged"}
    assert result.null.rows == 0
    assert result.outcome is Outcome.UNCLEAR  # base was compared with itself in no row
    slow = {NULL: None, BASE: 1e-3, NEW: 3e-3}
    result = faked(monkeypatch, lambda _pair, _key, arm: slow[arm])
    assert verdicts(result) == {"unclear"}  # and then nobody knows how far it differs


def test_a_base_that_fails_later_proves_nothing_of_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its row would be `fixed` otherwise, however slow new was before."""

    def script(pair: str, key: str, arm: str) -> float | None:
        if (pair, key, arm) == ("confirm 4", "7", BASE):
            return None
        return 1.3e-3 if (key, arm) == ("7", NEW) else 1e-3

    result = faked(monkeypatch, script)
    row = next(c for c in result.judgements if c.pair.row["seed"] == 7)
    assert (row.verdict, row.reason) == ("unclear", "base failed in a later pair: it failed")
    assert result.outcome is Outcome.UNCLEAR


def test_the_same_files_on_the_same_libraries_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then a difference is the machine's, and a reader should know."""
    remark = "every method has the same file on both sides, and the libraries are the same"
    facts = {"versions": {"torch": "2", "numpy": "2"}, "blas": "mkl", "python": "3"}
    for other, said in (({}, True), ({"blas": "openblas"}, False)):
        monkeypatch.setattr(FakeDuel, "facts", {BASE: facts, NEW: facts | other})
        result = faked(monkeypatch, lambda *_: 1e-3)
        assert (remark in result.remarks) is said
        hashes = {c.pair.row["code_hash"] for c in result.judgements}
        assert all(hashes)


def test_where_too_many_rows_are_unstable_the_run_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    swing = {"screen 1": 1.0, "screen 2": 1.4, "screen 3": 0.7}

    def script(pair: str, key: str, arm: str) -> float:
        return 1e-3 * (swing.get(pair, 1.0) if arm == NEW and int(key) < 6 else 1.0)

    result = faked(monkeypatch, script)
    assert result.doubts == ("6 of 20 rows are unstable: the machine has too much other load",)
    assert result.outcome is Outcome.UNCLEAR
    assert "same" not in verdicts(result)  # a doubt leaves nothing proven


def test_base_told_from_itself_is_a_doubt_that_only_twice_as_much_survives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run_with(slow: float) -> Judged:
        by_arm = {BASE: 1.0, NULL: 1.2, NEW: slow}
        return faked(monkeypatch, lambda _pair, _key, arm: 1e-3 * by_arm[arm])

    assert len(run_with(1.3).null.confirmed) == 8  # met again, in the fresh pairs
    assert "a difference of base from itself was confirmed" in run_with(1.3).doubts[0]
    assert verdicts(run_with(1.3)) == {"unclear"}
    assert verdicts(run_with(1.5)) == {"slower"}
    assert len(run_with(1.0).null.confirmed) == 8  # also where nothing stands out in new


def test_for_a_row_that_cannot_run_another_is_held_against_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = faked(monkeypatch, lambda _pair, key, _arm: 1e-3 if int(key) % 2 else None)
    assert result.null.rows == 8
    nulls = {
        pair: {k for p, k, arms in FakeDuel.asked if NULL in arms and p == pair}
        for pair, _, _ in FakeDuel.asked
    }
    assert len(nulls["screen 1"]) == len(nulls["screen 2"]) == 8
    assert nulls["screen 2"] == nulls["screen 3"]
    assert all(int(key) % 2 for key in nulls["screen 2"])


def test_of_other_seeds_other_rows_are_held_against_themselves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ab, "Duel", FakeDuel)
    monkeypatch.setattr(FakeDuel, "script", staticmethod(lambda *_: 1e-3))
    cells = [
        Contest(f"{i}", dict.fromkeys((BASE, NEW), replace(Cell(**CELL), seed=i)))
        for i in range(40)
    ]
    chosen = []
    for seed in ("a", "b", "a"):
        FakeDuel.asked.clear()
        ab.run(Plan(tuple(cells), Setup({}), Setup({}), "cpu", seed))
        chosen.append({key for _, key, arms in FakeDuel.asked if NULL in arms})
    assert chosen[0] == chosen[2] != chosen[1]


def test_what_is_slower_a_little_everywhere_is_worth_a_look_and_no_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wobble = {"screen 1": 1.0, "screen 2": 1.0005, "screen 3": 0.9995}

    def script(pair: str, key: str, arm: str) -> float:
        return 1e-3 * wobble[pair] * (1.02 if arm == NEW and key == "7" else 1.0)

    result = faked(monkeypatch, lambda p, k, a: script(p, k, a) * (1.0001 if a == BASE else 1))
    assert result.outcome is Outcome.PASS
    assert [c.pair.row["seed"] for c in result.worth_a_look] == [7]


def test_what_cannot_run_in_either_is_nothing_measured(tmp_path: Path, suite: Path) -> None:
    python = stand_in(tmp_path, do={"svd": "not_installed", "eigh": "not_installed"})
    assert found(suite, python, python).outcome is Outcome.NOTHING_MEASURED


@pytest.mark.exhaustive
@pytest.mark.gate
def test_base_that_differs_from_itself_voids_what_is_no_more_than_that(
    tmp_path: Path, suite: Path
) -> None:
    base = stand_in(tmp_path, process=0.12)
    result = found(suite, base, stand_in(tmp_path, "slow", process=0.12, slower={"svd": 1.15}))
    assert result.outcome is Outcome.UNCLEAR
    assert result.doubts  # of the base, or of rows that are unstable: by chance
    assert "slower" not in verdicts(result)
    result = found(suite, base, stand_in(tmp_path, "slower", process=0.12, slower={"svd": 3.0}))
    assert result.doubts
    assert verdicts(result, "svd") == {"slower"}  # whatever the machine does, not three times
    assert "slower" not in verdicts(result, "eigh")
    assert result.outcome is Outcome.REGRESSION


@pytest.mark.slow
def test_another_input_is_not_comparable(tmp_path: Path, suite: Path) -> None:
    base = stand_in(tmp_path, values={"fingerprint": 1.0})
    new = stand_in(tmp_path, "new", values={"fingerprint": 2.0})
    assert found(suite, base, new).outcome is Outcome.INCOMPARABLE


@pytest.mark.parametrize("name", ["smoke", "quick", "standard"])
def test_a_shipped_suite_has_cells_of_one_device_to_compare(name: str) -> None:
    from mssbench.ab.sides import comparable
    from mssbench.suite import suite as suites

    chosen, left_out = comparable(suites.load(suites.find(name), auto="cpu"))
    cells = chosen.cells
    assert all("for cuda left out" in remark for remark in left_out)
    assert {c.device for c in cells} == {"cpu"}
    assert "torch" in {c.library for c in cells}
    assert "cupy" not in {c.library for c in cells}  # which would be sent to a GPU


def taken(seconds: float, share: float) -> ArmSamples:
    return ArmSamples({}, (seconds,) * 5, (seconds * share,) * 5, 1)


def test_where_a_core_was_taken_the_time_of_the_processor_counts() -> None:
    disturbed = ArmSamples({}, (2e-3,) * 5, (1.5e-3,) * 5, 1)
    also = ArmSamples({}, (2e-3,) * 5, (1.5e-3,) * 5, 1)
    assert effect(ArmSamples({}, (3e-3,) * 5, (2.25e-3,) * 5, 1), also, "cpu") == pytest.approx(
        -0.405, abs=1e-3
    )
    assert effect(also, disturbed, "cpu") == pytest.approx(0.0)
    # 20 % more that new waits for is new's own
    assert effect(taken(1e-3, 1.0), taken(1.2e-3, 0.83), "cpu") == pytest.approx(0.182, abs=1e-3)
    assert effect(taken(1e-3, 1.0), taken(2e-3, 1.0), "cpu") == pytest.approx(0.693, abs=1e-3)
    # a method that sleeps uses little of a core by itself: the wall knows
    assert effect(taken(1e-3, 0.10), taken(2e-3, 0.08), "cpu") == pytest.approx(0.693, abs=1e-3)
    # what the host does meanwhile says nothing of a device
    assert effect(taken(1e-3, 0.9), taken(2e-3, 0.88), "cuda") == pytest.approx(0.693, abs=1e-3)


def test_the_row_of_a_side_has_the_flags_of_all_its_processes() -> None:
    """Time and errors of a row are those of several processes, and a doubt about one counts."""
    cell = Cell(**CELL)
    contest = Contest("a", {BASE: cell})
    status = {"status": "ok", "reason": ""}
    rows = [vars(cell) | status | {"flags": x} for x in ("", "loaded above_ceiling", "loaded")]
    screen = [{BASE: replace(taken(1e-3, 1.0), row=row)} for row in rows]
    row = Notes(contest, screen=screen).row(BASE)
    assert row is not None
    assert row["flags"] == "loaded above_ceiling"


def test_what_a_guard_saw_makes_a_row_noisy() -> None:
    """So a small difference is none there. A busy core is no such thing: see the test above."""
    calm = {BASE: taken(1e-3, 1.0), NEW: taken(1e-3, 1.0)}
    flagged = [replace(taken(1e-3, 1.0), flags=frozenset({f})) for f in ("throttled", "unwatched")]
    for spoiled, noise in (
        (taken(1e-3, 0.9), "quiet"),
        (flagged[0], "noisy"),
        (flagged[1], "quiet"),
    ):
        pair = {BASE: spoiled, NEW: spoiled}
        evidence = evidence_of([pair, pair, calm], (), NEW, "cpu")
        assert evidence is not None
        assert evidence.noise == noise
    own = {BASE: taken(1e-3, 1.0), NEW: flagged[0]}  # what new alone meets may be its own doing
    evidence = evidence_of([own] * 3, (), NEW, "cpu")
    assert evidence is not None
    assert evidence.noise == "quiet"


@pytest.mark.slow
def test_every_thread_of_an_arm_keeps_to_its_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """They start side by side on all cores, and the imports make threads of their own."""
    arms = [Arm(name, Setup({"policy": {}}, isolated=True)) for name in (BASE, NEW)]
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "8")
    with Duel(arms, "cpu", 1, "0"):
        for child in psutil.Process().children():
            assert {child.environ()[name] for name in THREAD_SETTINGS} == {"1"}
        allowed = {
            _allowed(thread)
            for child in psutil.Process().children()
            for thread in Path(f"/proc/{child.pid}/task").iterdir()
        }
    assert len(allowed) == 1
    assert allowed.pop().isdigit()  # one core, where several would be 0-1


def _allowed(thread: Path) -> str:
    return re.search(r"Cpus_allowed_list:\s*(\S+)", (thread / "status").read_text())[1]  # type: ignore[index]


# The command.


def run(capsys: Any, suite: Path, base: str, new: str, *more: str) -> tuple[int, str, str]:
    return called(capsys, "ab", suite, "--base", base, "--new", new, *more)


@pytest.mark.slow
def test_whom_it_waits_for_is_said_once(
    tmp_path: Path, suite: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = stand_in(tmp_path)
    held = slots.lock_device(slots.slot_of("cpu"), lambda: False)
    assert held is not None
    asked = []
    patience = threading.Timer(60, os.close, [held])  # rather than wait for ever

    def free() -> None:
        if patience.is_alive():
            patience.cancel()
            patience.join()
            os.close(held)

    def lock(slot: Slot, stopped: Callable[[], bool], waiting: Callable[[str], None]) -> int | None:
        def wait(holder: str) -> None:
            waiting(holder)
            asked.append(holder)
            if len(asked) == 3:
                free()

        return slots.lock_device(slot, stopped, wait)

    monkeypatch.setattr("mssbench.ab.duel.lock_device", lock)
    patience.start()
    try:
        code, _, told = run(capsys, suite, python, python, "--only", "seed == 0")
    finally:
        free()
    assert code == 0
    assert len(asked) == 3
    words = " ".join(told.split())
    assert words.count(f"waiting for the device, held by process {os.getpid()} (") == 1


@pytest.mark.slow
def test_the_command_says_what_it_compared_and_ends_with_the_line(
    tmp_path: Path, suite: Path, capsys: Any
) -> None:
    base = stand_in(tmp_path, versions={"torch": "2.11.0"})
    new = stand_in(tmp_path, "slow", slower={"svd": 1.2}, versions={"torch": "2.13.0"})
    code, out, err = run(capsys, suite, base, new)
    assert code == 1
    assert "torch 2.11.0 -> 2.13.0" in out
    assert "1.20x" in out
    assert "base compared with itself, 8 rows" in out
    assert re.fullmatch(r"mssbench: verdict=regression slower=6 .* rows=12", out.splitlines()[-1])
    assert "interpreter" in err
    code, out, _ = run(capsys, suite, base, base, "--json", "--only", "forward == 'eigh'")
    data = json.loads(out)
    assert (code, data["verdict"], len(data["rows"])) == (0, "pass", 6)


@pytest.mark.parametrize(
    ("base", "new", "why"),
    [
        ("nowhere/python", "{ok}", "--base nowhere/python: no interpreter, no revision"),
        ("numpy/eig", "{ok}", "Did you mean the method 'numpy/eigh'?"),
        (
            "{ok}",
            "numpy/mine",
            "Your own method has to be in the suite; name its file with --also FILE.py.",
        ),
        ("{ok}", "{bare}", "ended before its first cell"),
        ("numpy/eigh", "{ok}", "--base is a method and --new an interpreter: compare two methods"),
    ],
)
def test_a_side_that_is_none_says_what_would_be(
    tmp_path: Path, suite: Path, capsys: Any, base: str, new: str, why: str
) -> None:
    bare = tmp_path / "bare"
    bare.write_text("#!/bin/sh\necho no module named mssbench >&2\nexit 1\n")
    bare.chmod(0o755)
    names = {"ok": stand_in(tmp_path), "bare": str(bare)}
    code, out, err = run(capsys, suite, base.format(**names), new.format(**names))
    assert (code, out) == (2, "")
    assert why in " ".join(err.split())


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("deed", "json_flag"),
    [
        ("ok", []),
        ("hang_held", ["--json"]),
        pytest.param("ok", ["--json"], marks=pytest.mark.slow),
        pytest.param("hang_held", [], marks=pytest.mark.slow),
    ],
)
def test_stopped_in_the_middle_it_says_what_it_has_and_leaves_no_process(
    tmp_path: Path, suite: Path, deed: str, json_flag: list[str]
) -> None:
    """A signal is heeded at once, also while a method hangs that has a minute left."""
    log = tmp_path / "log"
    base = stand_in(tmp_path)
    new = stand_in(tmp_path, "new", do={"svd": deed}, log=str(log), values={"root_error": 1e-3})
    command = [sys.executable, "-m", "mssbench", "ab", suite, "--base", base, "--new", new]
    with subprocess.Popen(
        [*map(str, command), *json_flag], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as ran:
        try:
            # the svd hangs as it is held; else a few rows have their samples by then
            ready = {
                "hang_held": lambda text: "svd" in text,
                "ok": lambda text: text.count("sample") > 40,
            }
            assert until(lambda: log.exists() and ready[deed](log.read_text()))
            begin = time.monotonic()
            ran.terminate()
            out, err = ran.communicate(timeout=50)
            assert time.monotonic() - begin < 15
        finally:
            ran.kill()
    assert ran.returncode == 130, err
    if json_flag:
        data = json.loads(out)
        assert (data["verdict"], data["exit_code"]) == ("interrupted", 130)
        assert {row["verdict"] for row in data["rows"]} <= {"worse"}
        assert deed != "ok" or data["rows"]
    else:
        worse = r"[1-9]" if deed == "ok" else ""
        assert re.search(
            rf"^mssbench: verdict=interrupted slower=0 worse={worse}", out, re.MULTILINE
        )
    assert until(lambda: not relatives(tmp_path / "locks"))


@pytest.mark.exhaustive
@pytest.mark.gate
def test_what_this_machine_cannot_tell_may_be_let_pass(
    tmp_path: Path, suite: Path, capsys: Any
) -> None:
    base = stand_in(tmp_path, process=0.12)
    code, out, err = run(capsys, suite, base, base, "--github")
    assert (code, "verdict=unclear" in out.splitlines()[-1]) == (3, True)
    assert "::warning title=mssbench ab%3A unclear::" in err
    code, out, _ = run(capsys, suite, base, base, "--inconclusive", "pass", "--json")
    assert (code, json.loads(out)["exit_code"], json.loads(out)["verdict"]) == (0, 0, "unclear")
    worse = stand_in(tmp_path, "worse", process=0.12, values={"root_error": 1e-3})
    assert run(capsys, suite, base, worse, "--inconclusive", "pass")[0] == 1


def test_every_run_draws_its_own_order_and_says_which(
    tmp_path: Path, suite: Path, capsys: Any, hasty: None
) -> None:
    python = stand_in(tmp_path)
    seeds = []
    for more in ((), (), ("--seed", "7")):
        _, out, err = run(capsys, suite, python, python, "--only", "seed == 0", *more)
        seeds.append(re.search(r"--seed\s+(\w+)", err)[1])  # type: ignore[index]
        assert "has the same file on" not in out  # a stand-in does not say what rounds its sums
    assert len({*seeds}) == 3
    assert seeds[2] == "7"


def test_a_small_limit_of_a_suite_counts_as_the_least_that_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits = tuple(thresholds.of_suite({"check": {"fail_on": ["torch/*:seconds:1%"]}}))

    def script(pair: str, key: str, arm: str) -> float:
        more = 0.05 if pair.startswith("screen") else 0.02  # flagged by chance
        return 1e-3 * (1 + more * (arm == NEW and key == "7"))

    result = faked(monkeypatch, script, rules=limits)
    assert verdicts(result) == {"same"}


def test_a_limit_that_can_be_told_does_not_hide_one_that_cannot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = {BASE: 1e-3, NULL: 1e-3, NEW: 1.15e-3}

    def judged(*words: str) -> Judged:
        limits = tuple(thresholds.of_words(list(words)))
        return faked(monkeypatch, lambda _pair, _key, arm: slow[arm], cells=8, rules=limits)

    assert judged("seconds:20%").outcome is Outcome.PASS
    assert judged("seconds:10%").outcome is Outcome.REGRESSION
    with pytest.raises(GateError, match=r"'torch/\*:seconds:1%'.*no less than 3 %"):
        judged("seconds:20%", "torch/*:seconds:1%")


def test_base_is_started_a_third_time_only_where_a_row_is_held_against_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of twenty rows eight are; here those that are slower, and measured again, are others."""
    started: dict[str, set[str]] = {}

    class Duel(FakeDuel):
        def __init__(self, arms: Any, device: str, rounds: int, seed: str, *_: Any) -> None:
            super().__init__(arms, device, rounds, seed)
            started[self.pair] = {arm.name for arm in arms}

    def script(pair: str, _key: str, arm: str) -> float:
        _, _, arms = FakeDuel.asked[-1]
        return 1.3e-3 if arm == NEW and NULL not in arms else 1e-3

    result = faked(monkeypatch, script, duel=Duel)
    assert [c.verdict for c in result.judgements].count("slower") == 12
    assert {pair.partition(" ")[0]: arms for pair, arms in started.items()} == {
        "screen": {BASE, NEW, NULL},
        "confirm": {BASE, NEW},
    }
    assert len({key for pair, key, _ in FakeDuel.asked if pair == "confirm 1"}) == 12


@pytest.mark.sampled(1)
@pytest.mark.parametrize("deed", ["exit_once", "kill_once", "term_once"])
def test_one_death_of_a_process_that_served_others_is_nobodys_fault(
    tmp_path: Path, suite: Path, deed: str
) -> None:
    """The cell is met again, in fresh processes."""
    new = stand_in(tmp_path, "dies", do={"svd": deed}, once=str(tmp_path / "once"))
    result = found(suite, stand_in(tmp_path), new)
    assert (tmp_path / "once").exists()
    assert verdicts(result) <= {"same", "unflagged"}
    assert result.outcome is Outcome.PASS


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("values", "verdict"), [({"root_error": 1e-3}, "worse"), ({}, "unflagged")]
)
def test_an_arm_that_cannot_be_started_again_leaves_what_was_found(
    tmp_path: Path, suite: Path, capsys: Any, values: dict[str, float], verdict: str
) -> None:
    """And that is no pass, nor unclear: what was not measured may be what ended it."""
    new = stand_in(tmp_path, "dies", values=values)
    script = Path(new)
    starts = tmp_path / "starts"
    starts.mkdir()
    script.write_text(
        script.read_text().replace(
            "import sys\n",
            f"import sys, os\nopen('{starts}/' + str(os.getpid()), 'w').close()\n"
            f"if len(os.listdir('{starts}')) > 1: sys.exit('no more')\n",
            1,
        )
    )
    code, out, _ = run(capsys, suite, stand_in(tmp_path), new, "--inconclusive", "pass", "--json")
    result = json.loads(out)
    assert set(result["verdicts"]) == {verdict}
    assert len(result["rows"]) == 12
    assert "no more" in result["doubts"][0]
    assert (code, result["verdict"]) == ((1, "regression") if values else (4, "broken"))


@pytest.mark.slow
def test_odd_text_of_a_method_does_not_lose_the_comparison(
    tmp_path: Path, suite: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    new = stand_in(tmp_path, "odd", do={"svd": "raise"}, words="no \udcff, and\nleft")
    code, out, _ = run(capsys, suite, stand_in(tmp_path), new, "--github")
    assert (code, "no ?, and left" in out) == (4, True)
    assert "no ?, and left" in (tmp_path / "summary").read_text()


@pytest.mark.gate
def test_packages_that_round_otherwise_are_held_to_what_is_stable(
    tmp_path: Path, suite: Path
) -> None:
    """The same libraries on another BLAS: an error may be 4 u κ^p, as on another machine."""
    base = stand_in(tmp_path, values={"root_error": 1e-16, "condition": 10.0})
    values = {"root_error": 6e-16, "condition": 10.0}
    same = stand_in(tmp_path, "same", values=values)
    other = stand_in(tmp_path, "other", values=values, blas={"numpy": "MKL"})
    assert found(suite, base, same).outcome is Outcome.REGRESSION
    assert found(suite, base, other).outcome is Outcome.PASS


@pytest.mark.exhaustive
@pytest.mark.gate
def test_the_suite_may_set_limits_of_its_own(tmp_path: Path, suite: Path, capsys: Any) -> None:
    suite.write_text(suite.read_text() + '\n[check]\nfail_on = ["numpy/svd:seconds:50%"]\n')
    base, new = stand_in(tmp_path), stand_in(tmp_path, "slow", slower={"svd": 1.3})
    code, _, err = run(capsys, suite, base, new)
    assert code == 0, err
    code, out, _ = run(capsys, suite, base, new, "--fail-on", "seconds:20%")
    assert (code, "slower=6" in out.splitlines()[-1]) == (1, True)
    code, _, err = run(capsys, suite, base, new, "--fail-on", "second:20%")
    assert (code, "Did you mean 'seconds'?" in err) == (2, True)


ALSO = """
from mssbench.methods.registry import Root, register_forward

@register_forward(cite="mine, 2026", products=lambda: 1.0, libraries=("numpy",), yields=("sqrt",))
def {name}(a) -> Root:
    import numpy as np
    w, v = np.linalg.eigh(a)
    return Root(sqrt={off} * (v * np.sqrt(w)[..., None, :]) @ np.swapaxes(v, -1, -2))
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with mssbench and methods beside it; in its second commit two are worse."""
    import mssbench

    here = tmp_path / "checkout"
    shutil.copytree(
        Path(mssbench.__file__).parent,
        here / "mssbench",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    shutil.copytree(ROOT / "suites", here / "suites")
    mine, other = here / "mine.py", here / "other.py"

    def git(*words: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words],
            cwd=here,
            check=True,
            capture_output=True,
        )

    git("init", "-q", "-b", "main")
    mine.write_text(ALSO.format(name="mine", off=1.0))
    git("add", "-A")
    git("commit", "-qm", "one")
    git("tag", "before")
    file = here / "mssbench" / "methods" / "forward" / "newton_schulz.py"
    text = file.read_text()
    assert text.count(MARK) == 1
    file.write_text(text.replace(MARK, f"    a @ a  # for nothing\n{MARK}"))
    mine.write_text(ALSO.format(name="mine", off=1.001))
    other.write_text(ALSO.format(name="other", off=1.0))
    git("add", "-A")
    git("commit", "-qm", "two")
    monkeypatch.chdir(here)
    return here


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real workers take seconds to start: fewer pairs of them."""
    monkeypatch.setattr(ab_, "Plan", partial(Plan, screen_pairs=1, confirm_pairs=2))


@pytest.mark.slow
def test_two_revisions_of_a_checkout_are_compared_where_they_differ(
    checkout: Path, tmp_path: Path, capsys: Any, hasty: None, register: Any
) -> None:
    """The mssbench of the present folder is none of theirs, nor are the methods beside it."""
    (checkout / "mssbench" / "worker.py").write_text("raise SystemExit('that of this folder')\n")
    (checkout / "mine.py").write_text(ALSO.format(name="mine", off=7))
    small = write_suite(
        tmp_path, "forward = ['torch/newton_schulz', 'numpy/mine', 'numpy/other']", name="real"
    )
    also = [f for name in ("mine", "other") for f in ("--also", checkout / f"{name}.py")]
    code, out, err = called(capsys, "ab", small, "--base", "before", "--new", "main", *also)
    assert code == 1, out + err
    assert "products 12.0 -> 13.0, allowed 12.0" in out
    assert re.search(r"root_error \d\.\d+e-1\d -> 1\.00e-03", out)
    assert "2 worse, 1 added" in out  # base had no other.py
    assert "revision before (" in err
    assert not list((checkout / ".git" / "worktrees").glob("*"))  # nothing is left behind


@pytest.mark.timing
@pytest.mark.exhaustive
def test_two_methods_of_a_suite_are_compared_at_the_same_place(
    tmp_path: Path, capsys: Any, hasty: None
) -> None:
    real = write_suite(tmp_path, TWO, name="real")
    given = ("--set", "size=48", "--set", "batch=8", "--json")
    code, _, err = run(capsys, real, "numpy/eigh", "numpy/svd driver=default", *given)
    assert (code, "Did you mean the method 'numpy/svd'?" in err) == (2, True)
    code, out, err = run(capsys, real, "numpy/eigh", "numpy/svd", *given)
    assert code in (0, 1, 3), out + err  # a pair or two of a noisy machine confirm nothing
    (row,) = json.loads(out)["rows"]
    assert row["ratio"] > 1.1
    assert row["forward"] == "svd"
    both = write_suite(tmp_path, f"{TWO}\nbackward = ['none', 'loewner']", name="both")
    code, _, err = run(capsys, both, "numpy/eigh", "numpy/svd + loewner")
    assert code == 2
    assert "have no cell of the same problem, size and phase" in err  # a forward alone is no step


def test_contests_of_two_arms_are_matched_by_cell() -> None:
    cells = [replace(Cell(**CELL), seed=seed) for seed in range(3)]
    found = ab.contests(cells[:2], cells[1:])
    assert [sorted(c.cells) for c in found] == [["base"], ["base", "new"], ["new"]]


@pytest.mark.parametrize(
    ("least", "most", "verdict"), [(1.6, 2.2, "slower"), (1.05, 3.2, "unclear")]
)
def test_where_base_differs_from_itself_the_nearer_end_of_an_interval_must_lie_beyond(
    monkeypatch: pytest.MonkeyPatch, least: float, most: float, verdict: str
) -> None:
    """Base is 1.2 times itself, so nothing within a factor of 1.2² = 1.44 is told.

    Where base is itself, both are confirmed; and the far end of both intervals is well beyond.
    """

    def result(null: float, *, mirrored: bool) -> Judged:
        def script(pair: str, _key: str, arm: str) -> float:
            swing = most if int(pair.rsplit(maxsplit=1)[-1]) % 2 else least
            ratio = {BASE: 1.0, NULL: null, NEW: swing}[arm]
            return 1e-3 * (1 / ratio if mirrored else ratio)

        return faked(monkeypatch, script, cells=5)

    for mirrored, word in ((False, "slower"), (True, "faster")):
        assert verdicts(result(1.0, mirrored=mirrored)) == {word}
        doubted = result(1.2, mirrored=mirrored)
        assert "a difference of base from itself was confirmed" in doubted.doubts[0]
        assert verdicts(doubted) == {verdict.replace("slower", word)}
        for change in doubted.judgements:
            assert change.low is not None
            assert change.high is not None
            near, far = sorted((abs(math.log(change.low)), abs(math.log(change.high))))
            assert (near > 2 * math.log(1.2)) is (verdict == "slower")
            assert far > 2 * math.log(1.2)


def test_whose_time_counts_changes_where_a_core_was_taken_and_from_both_alike() -> None:
    """The wall of new is twice base's; its processor time is what the shares make of it."""

    def by(base: float, new: float, device: str = "cpu") -> str:
        found = effect(taken(1e-3, base), taken(2e-3, new), device)
        words = {"wall": math.log(2), "processor": math.log(2 * new / base)}
        return next(word for word, x in words.items() if found == pytest.approx(x, abs=1e-9))

    assert by(0.955, 0.965) == "processor"
    assert by(0.98, 0.975) == "wall"  # nothing ran beside them
    assert by(0.975, 0.96) == "processor"  # of one of them a core was taken
    assert by(0.51, 0.52) == "processor"
    assert by(0.49, 0.53) == "wall"  # it waits by itself
    assert by(0.80, 0.849) == "processor"
    assert by(0.80, 0.851) == "wall"
    assert by(0.80, 0.81, "cuda") == "wall"


def test_an_effect_is_of_the_lower_quartiles() -> None:
    """Other work makes times longer: the upper half says nothing."""
    base = ArmSamples({}, (1.0, 1.0, 1.0, 9.0, 9.0), (1.0, 1.0, 1.0, 9.0, 9.0), 1)
    new = ArmSamples({}, (1.1, 1.1, 50.0, 50.0, 50.0), (1.1, 1.1, 50.0, 50.0, 50.0), 1)
    assert effect(base, new, "cpu") == pytest.approx(math.log(1.1))
    lost = [ArmSamples({}, t.seconds, tuple(0.8 * x for x in t.seconds), 1) for t in (base, new)]
    assert effect(*lost, "cpu") == pytest.approx(math.log(1.1))


def test_the_window_of_a_row_is_a_sample_of_base_with_all_its_calls() -> None:
    base = ArmSamples({}, (1e-3, 1e-3, 9e-3), (1e-3, 1e-3, 9e-3), 7)
    pair = {BASE: base, NEW: replace(base, seconds=(5e-3,) * 3, cpu=(5e-3,) * 3)}
    found = evidence_of([pair] * 3, [pair], NEW, "cpu")
    assert found is not None
    assert found.window == pytest.approx(7e-3)
    assert len(found.screen) == 3
    assert len(found.confirm) == 1
    assert evidence_of([pair], [pair, {BASE: base, NEW: ArmSamples({})}], NEW, "cpu") is None


def test_a_sample_is_as_long_as_the_faster_arm_needs_and_slow_ones_have_fewer_rounds() -> None:
    duel = Duel([Arm(name, Setup({})) for name in (BASE, NEW)], "cpu", 15, "0")

    def effort(device: str, **seconds: float) -> tuple[dict[str, int], int]:
        return duel._effort(device, seconds)

    assert effort("cpu", base=1e-3, new=4e-3) == ({BASE: 2, NEW: 2}, 15)  # 2 ms of the faster
    assert effort("cpu", base=1e-9, new=1e-9)[0] == {BASE: 10_000, NEW: 10_000}
    assert effort("cuda", base=1.6e-5, new=1e-3) == ({BASE: 7, NEW: 1}, 15)
    assert effort("cpu", base=0.09, new=0.1) == ({BASE: 1, NEW: 1}, 15)
    assert effort("cpu", base=0.1, new=0.11) == ({BASE: 1, NEW: 1}, 7)  # 0.2 s of both together
    assert effort("cpu", base=1.0, new=0.5) == ({BASE: 1, NEW: 1}, 3)
    assert effort("cpu") == ({}, 15)


@pytest.mark.parametrize(("unstable", "doubted"), [(4, False), (5, True)])
def test_a_fifth_of_the_rows_may_be_unstable(
    monkeypatch: pytest.MonkeyPatch, unstable: int, doubted: bool
) -> None:
    swing = {"screen 1": 1.0, "screen 2": 1.4, "screen 3": 0.7}

    def script(pair: str, key: str, arm: str) -> float:
        return 1e-3 * (swing.get(pair, 1.0) if arm == NEW and int(key) < unstable else 1.0)

    result = faked(monkeypatch, script)
    assert bool(result.doubts) is doubted
    assert result.outcome is (Outcome.UNCLEAR if doubted else Outcome.PASS)


def test_where_no_time_may_be_trusted_nothing_is_worth_a_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wobble = {"screen 1": 1.0, "screen 2": 1.0005, "screen 3": 0.9995}
    swing = {"screen 1": 1.0, "screen 2": 1.4, "screen 3": 0.7}

    def result(unstable: int) -> Judged:
        def script(pair: str, key: str, arm: str) -> float:
            if arm == NEW and int(key) < unstable:
                return 1e-3 * swing.get(pair, 1.0)
            return 1e-3 * wobble.get(pair, 1.0) * (1.02 if arm == NEW and key == "19" else 1.0)

        return faked(monkeypatch, lambda p, k, a: script(p, k, a) * (1.0001 if a == BASE else 1))

    assert [c.pair.row["seed"] for c in result(0).worth_a_look] == [19]
    assert result(6).doubts
    assert result(6).worth_a_look == ()
