"""Attacks on `ab` by methods that are wrong, fail, or do not do what is timed."""

import json
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.runs import load, stand_in, write_suite
from helpers.tables import CELL, called

from mssbench.ab import run as ab
from mssbench.ab.duel import Arm, Duel
from mssbench.ab.effects import BASE, NEW
from mssbench.ab.run import Plan
from mssbench.compare.judgement import Judged
from mssbench.compare.verdict import Outcome
from mssbench.engines.start import Setup
from mssbench.measure.bench import Bench
from mssbench.measure.on_demand import held
from mssbench.measure.roofline import Limit
from mssbench.measure.session import Session, Settings
from mssbench.measure.truth import Truth
from mssbench.methods.method import Root
from mssbench.records.cell import Cell
from mssbench.records.noise import ABOVE_CEILING, UNVERIFIED
from mssbench.records.policy import Policy
from mssbench.results.labels import counts_as_ok

TWO = "forward = ['numpy/eigh', 'numpy/svd']"
WRONG = {"status": "diverged", "reason": "root error 2 exceeds 1", "values": {"root_error": 2.0}}


# What a process finds by itself.

TINY = replace(
    Cell(**CELL), library="numpy", size=6, batch=3, precision="float64", problem="wishart(ratio=2)"
)
calls: list[int] = []


def root(a: Any) -> Any:
    w, v = np.linalg.eigh(a)
    return (v * np.sqrt(w)[..., None, :]) @ np.swapaxes(v, -1, -2)


def keeps_its_first_answer(a: Any) -> Any:
    kept = keeps_its_first_answer.__dict__
    return kept.setdefault(a.shape, root(a))


def keeps_the_answer_before(a: Any) -> Any:
    kept = keeps_the_answer_before.__dict__
    before, kept["y"] = kept.get("y"), root(a)
    return kept["y"] if before is None or len(calls) < 3 else before


def is_nan_later(a: Any) -> Any:
    return root(a) * (np.nan if len(calls) > 3 else 1.0)


def is_inaccurate_later(a: Any) -> Any:
    return root(a) * (1.4 if len(calls) > 3 else 1.0)


def solves_one_of_the_batch_later(a: Any) -> Any:
    if len(calls) <= 3:
        return root(a)
    return np.broadcast_to(root(a[:1]), a.shape).copy()


def changes_its_shape_later(a: Any) -> Any:
    return root(a)[:1] if len(calls) > 3 else root(a)


def changes_its_type_later(a: Any) -> Any:
    return root(a).astype("float32") if len(calls) > 3 else root(a)


def returns_nothing_later(a: Any) -> Any:
    return None if len(calls) > 3 else root(a)


def writes_into_its_input_later(a: Any) -> Any:
    y = root(a)
    if len(calls) > 12:
        a += 1e-9
    return y


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("method", "status"),
    [
        (keeps_its_first_answer, "inaccurate|diverged"),
        (keeps_the_answer_before, "inaccurate|diverged"),
        (is_nan_later, "nonfinite"),
        (is_inaccurate_later, "inaccurate"),
        (solves_one_of_the_batch_later, "inaccurate|diverged"),
        (changes_its_shape_later, "Violation: the root has shape"),
        (changes_its_type_later, "Violation: the root has dtype float32"),
        (returns_nothing_later, "returned a Root without sqrt"),
        (writes_into_its_input_later, "wrote into its input"),
    ],
)
def test_attack_only_the_first_answer_is_right(register: Any, method: Any, status: str) -> None:
    calls.clear()
    for name in (n for n in list(method.__dict__) if n != "__wrapped__"):
        del method.__dict__[name]

    def counted(a: Any) -> Root:
        calls.append(1)
        return Root(sqrt=method(a))

    counted.__name__ = method.__name__
    register["forward"](
        cite="mine, 2026", products=lambda: 1.0, libraries=("numpy",), yields=("sqrt",)
    )(counted)
    cell = replace(TINY, forward=method.__name__)
    session = Session(Settings(Policy(warmup_seconds=0.0)))
    with held(cell, session, verify=True) as (row, _, kept):
        assert row.status == "ok"  # the first answer was right
        assert kept is not None
        try:
            kept.sample(8)
            kept.sample(9)
            verified = kept.verify()
            assert verified is not None
            told = verified.status
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
    assert re.search(status, told), told


def test_attack_answers_are_remembered_by_content(register: Any) -> None:
    """All inputs that rotate have been met when the samples begin, so only new ones tell."""
    kept: dict[bytes, Any] = {}

    def remembers(a: Any) -> Root:
        if a.tobytes() not in kept:
            time.sleep(1e-3)  # as a larger matrix would take
            kept[a.tobytes()] = root(a)
        return Root(sqrt=kept[a.tobytes()])

    register["forward"](
        cite="mine, 2026", products=lambda: 1.0, libraries=("numpy",), yields=("sqrt",)
    )(remembers)
    session = Session(Settings(Policy(warmup_seconds=0.0)))
    with held(replace(TINY, forward="remembers"), session, verify=True) as (row, _, arm):
        assert row.status == "ok"
        assert arm is not None
        arm.sample(20)
        verified = arm.verify()
    assert verified is not None
    assert verified.status == "implausible"
    assert "it remembers answers" in verified.reason


def test_attack_a_right_method_stays_right_in_every_place_of_the_rotation() -> None:
    session = Session(Settings(Policy(warmup_seconds=0.0)))
    for count in range(1, 10):
        with held(replace(TINY, forward="eigh"), session, verify=True) as (row, _, kept):
            assert kept is not None
            kept.sample(count)
            verified = kept.verify()
            assert verified is not None
            assert (verified.status, verified.reason) == ("ok", "")
            assert verified.values["root_error"] == row.row()["root_error"]


@pytest.mark.parametrize(
    ("slowest", "load", "status", "flags"),
    [
        (1e3, 0.0, "implausible", ""),
        (1e3, 99.0, "implausible", "loaded"),
        (1e12, 0.0, "ok", ""),
        (1e12, 99.0, "ok", "loaded"),
    ],
)
def test_attack_faster_than_the_machine_can_be(
    monkeypatch: pytest.MonkeyPatch, slowest: float, load: float, status: str, flags: str
) -> None:
    """By a ceiling of so many flop/s, whatever the load of the machine if it is far beyond."""
    rates = {"float64": slowest, "bytes_per_second": 1e12, "calls_per_second": 1e9}
    session = Session(Settings(Policy(warmup_seconds=0.0)))
    monkeypatch.setattr(session.ceilings, "best", lambda *_: rates)
    monkeypatch.setattr(session.ceilings, "measure", lambda *_: rates)
    monkeypatch.setattr("os.getloadavg", lambda: (load, load, load))
    cell = replace(TINY, library="torch", forward="newton_schulz", iterations=20)
    with held(cell, session, verify=True) as (_, _, kept):
        assert kept is not None
        kept.sample(5)
        verified = kept.verify()
        assert verified is not None
        assert verified.status == status, verified
        assert verified.values["flags"] == flags


def test_attack_too_fast_on_a_busy_machine_is_doubted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other work may have slowed the ceilings, so it is no proof; but such a time cannot win."""
    session = Session(Settings(Policy(warmup_seconds=0.0)))
    monkeypatch.setattr("os.getloadavg", lambda: (99.0, 99.0, 99.0))
    limit = Limit(seconds=None, bound="", certain=1.0)
    seconds = 1 / 8
    assert limit.exceeded_by(seconds)
    assert not limit.far_exceeded_by(seconds)
    monkeypatch.setattr(Bench, "_limit", lambda *_: limit)
    cell = replace(TINY, library="torch", forward="newton_schulz", iterations=20)
    with held(cell, session, verify=True) as (row, _, kept):
        assert kept is not None
        kept.sample(5)
        verified = kept.verify([seconds] * 5)
    assert verified is not None
    assert (verified.status, verified.values["flags"]) == ("ok", f"loaded {ABOVE_CEILING}")
    values = {**(row.values or {}), **verified.values}
    assert not counts_as_ok(replace(row, values=values).row())


def test_attack_what_no_reference_can_judge_is_said_again(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(Settings(Policy(warmup_seconds=0.0)))
    monkeypatch.setattr(Truth, "can_judge", lambda *_: False)
    with held(replace(TINY, forward="eigh"), session, verify=True) as (_, _, kept):
        assert kept is not None
        kept.sample(5)
        verified = kept.verify()
    assert verified is not None
    assert UNVERIFIED in verified.values["flags"].split()


# What the comparison makes of it.


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    return write_suite(tmp_path, TWO, seeds=2)


def found(suite: Path, base: str, new: str, *overrides: str, **more: Any) -> Judged:
    cells = load(suite, *overrides).cells
    arms = [Setup({"policy": {}}, python=python, isolated=True) for python in (base, new)]
    return ab.run(Plan(ab.contests(cells, cells), *arms, "cpu", **more))


def by_method(result: Judged, forward: str) -> set[str]:
    return {str(j.verdict) for j in result.judgements if j.pair.row["forward"] == forward}


@pytest.mark.slow
def test_attack_a_last_output_that_is_wrong_is_broken_however_fast(
    tmp_path: Path, suite: Path
) -> None:
    new = stand_in(tmp_path, "new", last={"svd": WRONG}, slower={"svd": 0.005})
    result = found(suite, stand_in(tmp_path), new)
    assert by_method(result, "svd") == {"broken"}
    assert by_method(result, "eigh") <= {"same", "unflagged"}
    assert result.outcome is Outcome.BROKEN
    broken = next(j for j in result.judgements if j.verdict == "broken")
    assert broken.reason == "ok -> diverged: root error 2 exceeds 1"
    assert broken.pair.row["root_error"] == 2.0


def test_attack_every_process_of_every_arm_is_verified(tmp_path: Path, suite: Path) -> None:
    log = tmp_path / "log"
    python = stand_in(tmp_path, log=str(log))
    assert found(suite, python, python).outcome is Outcome.PASS
    words = [line.split()[1:] for line in log.read_text().splitlines()]
    held_ = sorted((pid, forward) for word, pid, *forward in words if word == "hold")
    verified = sorted((pid, forward) for word, pid, *forward in words if word == "verify")
    assert held_ == verified
    assert len({pid for pid, _ in held_}) == 3 * 3


@pytest.mark.sampled(1)
@pytest.mark.parametrize(("side", "code"), [("new", 4), ("base", 3)])
def test_attack_wrong_in_a_later_pair_alone(
    tmp_path: Path, suite: Path, side: str, code: int
) -> None:
    """As where a race or a device fails now and then. Of base it says nothing about new."""
    path = Path(stand_in(tmp_path, "later", last={"svd": WRONG}))
    count = tmp_path / "starts"
    count.mkdir()
    text = path.read_text().replace(
        "from helpers import runs\n",
        f"import json; open('{count}/' + str(os.getpid()), 'w').close()\n"
        f"if len(os.listdir('{count}')) < 3: os.environ['STAND_IN'] = '{{}}'\n"
        "from helpers import runs\n",
        1,
    )
    path.write_text(text)
    good, later = stand_in(tmp_path, "good"), str(path)
    result = found(suite, *((good, later) if side == "new" else (later, good)))
    assert result.outcome.exit_code == code
    assert by_method(result, "svd") == ({"broken"} if side == "new" else {"unclear"})


@pytest.mark.exhaustive
@pytest.mark.slow
def test_attack_both_slower_and_less_accurate(tmp_path: Path, suite: Path, capsys: Any) -> None:
    base = stand_in(tmp_path)
    new = stand_in(tmp_path, "new", slower={"svd": 1.3}, values={"root_error": 1e-3})
    given = ("ab", suite, "--base", base, "--new", new)
    code, out, _ = called(capsys, *given, "--json")
    data = json.loads(out)
    assert code == 1
    assert data["verdicts"] == {"worse": 4, "slower": 2}
    for row in data["rows"]:
        slow = row["forward"] == "svd"
        assert (row["verdict"], row["also"]) == ("worse", ["slower"] if slow else [])
        assert ("; slower: flagged in " in row["reason"]) is slow
    code, out, _ = called(capsys, *given)
    assert out.splitlines()[-1] == (
        "mssbench: verdict=regression slower=2 worse=4 broken=0 gone=0 unclear=0 rows=4"
    )
    assert "worse, slower" in out


@pytest.mark.slow
def test_attack_broken_and_slower_is_told_with_both(tmp_path: Path, suite: Path) -> None:
    last = {"status": "inaccurate", "reason": "root error 0.2", "values": {"root_error": 0.2}}
    new = stand_in(tmp_path, "new", slower={"svd": 1.3}, last={"svd": last})
    result = found(suite, stand_in(tmp_path), new)
    words = {j.words for j in result.judgements if j.pair.row["forward"] == "svd"}
    assert words == {"broken, slower"}
    assert result.outcome is Outcome.BROKEN


@pytest.mark.sampled(3, slow=3)
@pytest.mark.parametrize(
    ("base", "new", "code"),
    [
        ("ok", "crashed", 4),
        ("ok", "exit", 4),
        ("ok", "raise", 4),
        ("crashed", "crashed", 4),
        ("oom", "timeout", 4),
        ("not_installed", "crashed", 4),
        ("crashed", "ok", 0),
        ("not_installed", "ok", 0),
        ("ok", "not_installed", 4),
        ("unsupported", "not_installed", 6),
        ("unavailable", "unavailable", 6),
    ],
)
def test_attack_the_only_method(tmp_path: Path, base: str, new: str, code: int) -> None:
    """Exit code 6 is of what nobody tried; what was tried and broke is broken."""
    alone = write_suite(tmp_path, "forward = 'numpy/svd'", name="alone")
    sides = [stand_in(tmp_path, n, do={"svd": deed}) for n, deed in (("a", base), ("b", new))]
    result = found(alone, *sides)
    assert result.outcome.exit_code == code, result.judgements


@pytest.mark.slow
def test_attack_a_method_that_new_alone_has_is_verified_too(tmp_path: Path, suite: Path) -> None:
    cells = load(suite).cells
    old = [c for c in cells if c.forward == "eigh"]
    for wishes, verdict in (({}, "added"), ({"last": {"svd": WRONG}}, "added")):
        python = stand_in(tmp_path, verdict + str(len(wishes)), **wishes)
        setup = Setup({"policy": {}}, python=python, isolated=True)
        result = ab.run(Plan(ab.contests(old, cells), setup, setup, "cpu"))
        rows = [j.pair.row for j in result.judgements if j.pair.row["forward"] == "svd"]
        assert {row["status"] for row in rows} == ({"diverged"} if wishes else {"ok"})


def test_attack_arms_that_differ_by_any_factor_take_no_more_than_seconds() -> None:
    duel = Duel([Arm(name, Setup({})) for name in (BASE, NEW)], "cpu", 15, "0")
    for slow in (1e-5, 1e-3, 0.02, 0.3, 2.0):
        for factor in (1.0, 3.0, 800.0, 1e5, 1e9):
            seconds = {BASE: slow, NEW: slow / factor, "null": slow}
            counts, rounds = duel._effort("cpu", seconds)
            assert all(count >= 1 for count in counts.values())
            longest = rounds * sum(counts[name] * seconds[name] for name in seconds)
            assert longest <= max(6.0, 3 * 3 * slow), (slow, factor)
            # where arms are alike, so are their samples
            assert factor > 9 or len({*counts.values()}) == 1


def test_attack_files_that_change_between_two_pairs(tmp_path: Path, suite: Path) -> None:
    """What was compared by then is no pass: the code of one side is not known any more."""
    path = Path(stand_in(tmp_path, "edited"))
    path.write_text(
        path.read_text().replace(
            "from helpers import runs\n",
            "import os, mssbench.engines.start as s\ns.code_digest = lambda: str(os.getpid())\n"
            "from helpers import runs\n",
            1,
        )
    )
    result = found(suite, stand_in(tmp_path), str(path))
    assert result.outcome is Outcome.BROKEN
    assert result.doubts == ("the files of mssbench in new were changed while it was measured",)
    assert {str(j.verdict) for j in result.judgements} == {"unflagged"}


KEEPS = """
import numpy as np
from mssbench.methods.registry import Root, register_forward

kept = {}

@register_forward(cite="mine, 2026", products=lambda: 1.0, libraries=("numpy",), yields=("sqrt",))
def keeps(a) -> Root:
    if a.shape not in kept:
        w, v = np.linalg.eigh(a)
        kept[a.shape] = (v * np.sqrt(w)[..., None, :]) @ np.swapaxes(v, -1, -2)
    return Root(sqrt=kept[a.shape])
"""


@pytest.mark.exhaustive
@pytest.mark.slow
def test_attack_a_memory_by_shape_800_times_as_fast_ends_soon_and_is_broken(tmp_path: Path) -> None:
    """With real workers and all twelve pairs: it was still sampling after five minutes."""
    mine = tmp_path / "keeps.py"
    mine.write_text(KEEPS)
    suite = write_suite(tmp_path, "forward = ['numpy/eigh', 'numpy/keeps']", name="real")
    command = [
        sys.executable,
        "-P",
        "-m",
        "mssbench",
        "ab",
        suite,
        "--also",
        mine,
        "--json",
        "--set",
        "size=48",
        "--set",
        "batch=24",
        "--base",
        "numpy/eigh",
        "--new",
        "numpy/keeps",
    ]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=400)
    data = json.loads(done.stdout)
    assert (done.returncode, data["verdict"]) == (4, "broken"), done.stderr
    (row,) = data["rows"]
    assert row["verdict"] == "broken"
    assert row["ratio"] < 0.1
    assert re.match("ok -> (inaccurate|diverged): root error", row["reason"])
