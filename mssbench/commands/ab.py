"""`mssbench ab`: two interpreters, two revisions of a checkout, or two methods, in turn."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text

import mssbench
from mssbench import ab, differences, environment, rules, units
from mssbench.ab import Plan, Progress, Result
from mssbench.commands.compare import change_data
from mssbench.engines.duel import Contest
from mssbench.engines.process import Setup
from mssbench.errors import RunError, nearest
from mssbench.export import where
from mssbench.judgement import QUIET, last_line
from mssbench.labels import label
from mssbench.records import Cell
from mssbench.sampling import Policy
from mssbench.signals import Takedown
from mssbench.suite import Suite

_POLICY = Policy(warmup_seconds=0.02, passes=1)
_LOOKED = 5  # rows that are named; --json has all
_ONE = {"interpreter": "an interpreter", "revision": "a revision", "method": "a method"}


@dataclass(frozen=True)
class Contestant:
    """What one side was called, and what that means."""

    kind: str  # interpreter | revision | method
    name: str
    setup: Setup
    cells: tuple[Cell, ...]


def compare(
    suite: Suite, base: str, new: str, also: Sequence[Path], fail_on: Sequence[str], seed: str,
    log: Console,
) -> Result:  # fmt: skip
    """The result; when interrupted, what there is of it by then.

    Raises RunError for a side that is neither an interpreter with mssbench, nor a revision of the
    checkout here, nor a method of the suite; and GateError for a limit that cannot be read.
    """
    suite, left_out = _comparable(suite)
    limits = (*rules.of_suite(suite.document), *rules.of_words(fail_on))
    device = suite.cells[0].device
    settings = {"policy": asdict(_POLICY), "max_error": suite.measure["max_error"]}
    common = Setup(
        settings, tuple(str(p.resolve()) for p in also), suite.measure["timeout_seconds"],
        isolated=True,
    )  # fmt: skip
    with Takedown() as takedown, ExitStack() as stack:
        sides = [stack.enter_context(contestant(flag, name, suite, common))
                 for flag, name in (("base", base), ("new", new))]  # fmt: skip
        plan = Plan(contests(*sides), sides[0].setup, sides[1].setup, device, seed, limits)
        log.print(Text(f"base: {sides[0].kind} {sides[0].name}; new: {sides[1].kind} "
                       f"{sides[1].name}; {units.count(len(plan.contests), 'cell')}; "
                       f"--seed {seed}"))  # fmt: skip
        with log.status("starting") as status:
            told: set[str] = set()

            def watch(now: Progress) -> None:
                if now.stage.startswith(ab.WAITING) and now.stage not in told:
                    told.add(now.stage)
                    log.print(Text(now.stage))  # also where no status is shown
                status.update(
                    f"{now.stage}, pair {now.pair} of {now.pairs}, cell {now.done} of {now.of}"
                )

            found = ab.run(plan, watch, takedown.asked)
    return replace(found, remarks=(*left_out, *found.remarks))


def _comparable(suite: Suite) -> tuple[Suite, list[str]]:
    """With the cells of one device: of the GPU where there is one, else those that a CPU can run.

    `auto` sends the cells of a library that knows no other device to a GPU that may not be here.
    """
    devices = {c.device for c in suite.cells}
    device = environment.default_device() if len(devices) > 1 else devices.pop()
    cells = tuple(c for c in suite.cells if c.device == device)
    if not cells:
        raise RunError(f"suite {suite.name} has no cell for {device}. Choose --device.")
    others = Counter(c.device for c in suite.cells if c.device != device)
    left_out = [f"{units.count(n, 'cell')} for {name} left out: --device {name} compares them"
                for name, n in sorted(others.items())]  # fmt: skip
    return replace(suite, cells=cells), left_out


def contests(base: Contestant, new: Contestant) -> tuple[Contest, ...]:
    """The cells of both sides together: those of one id, or with two methods, of one place."""
    if (base.kind == "method") is not (new.kind == "method"):
        raise RunError(
            f"--base is {_ONE[base.kind]} and --new {_ONE[new.kind]}: compare two methods, or two "
            "sides that each run all of them."
        )
    if base.kind != "method":
        return ab.contests(base.cells, new.cells)
    places = [{_place(c): c for c in s.cells} for s in (base, new)]
    shared = [place for place in places[0] if place in places[1]]
    if not shared:
        raise RunError(f"{base.name} and {new.name} are never measured at the same place.")
    return tuple(
        Contest(places[1][p].cell_id, {ab.BASE: places[0][p], ab.NEW: places[1][p]}) for p in shared
    )


def _place(cell: Cell) -> Cell:
    """The cell without its method; a forward alone is no step."""
    step = "" if cell.backward == "none" else "step"
    return replace(cell, library="", forward="", backward=step, iterations=None,
                   backward_iterations=None, options="")  # fmt: skip


@contextmanager
def contestant(flag: str, name: str, suite: Suite, common: Setup) -> Iterator[Contestant]:
    """What a name means: a method of the suite, an interpreter, or a revision, in this order.

    A revision is checked out beside the checkout for as long as this lasts.
    """
    labels = {label(asdict(c)) for c in suite.cells}
    if name in labels:
        cells = tuple(c for c in suite.cells if label(asdict(c)) == name)
        yield Contestant("method", name, _own(common), cells)
    elif (found := _interpreter(name)) is not None:
        # the Python of this process runs the mssbench of this process, be it installed or not
        own = Path(found).absolute() == Path(sys.executable).absolute()
        setup = _own(common) if own else common
        yield Contestant("interpreter", name, replace(setup, python=found), suite.cells)
    elif (commit := _commit(name)) is not None:
        with _checkout(commit) as path:
            setup = replace(common, path=str(path), also=_of_revision(common.also, path))
            yield Contestant("revision", f"{name} ({commit[:12]})", setup, suite.cells)
    else:
        near = nearest(name, labels)
        hint = f" Did you mean the method {near!r}?" if near else ""
        raise RunError(
            f"--{flag} {name}: no interpreter, no revision of the checkout here, and no method of "
            f"suite {suite.name}.{hint} Name a Python that has mssbench, such as $(which python); "
            "a commit, branch or tag; or a method as `mssbench show` writes it."
        )


def _interpreter(name: str) -> str | None:
    """The program of that path; a bare word is one if it is no revision, or says python."""
    if os.sep not in name and not name.startswith("python") and _commit(name) is not None:
        return None
    return shutil.which(name)


def _own(common: Setup) -> Setup:
    """The interpreter and the mssbench of this process."""
    return replace(common, path=str(Path(mssbench.__file__).parent.parent))


def _of_revision(also: Sequence[str], tree: Path) -> tuple[str, ...]:
    """Files of a user's methods as that revision has them; one it has not yet is left out."""
    top = Path(_git("rev-parse", "--show-toplevel") or "/nowhere")
    files = (tree / Path(p).relative_to(top) if Path(p).is_relative_to(top) else Path(p)
             for p in also)  # fmt: skip
    return tuple(str(p) for p in files if p.is_file())


def _commit(name: str) -> str | None:
    """The commit that a name means in the checkout here."""
    if name.startswith("-"):
        return None
    return _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")


def _git(*words: str) -> str | None:
    """What git says here; None where it is not installed, or this is no checkout."""
    try:
        # a session of its own: Ctrl-C asks us to end, and must not leave half a tree
        done = subprocess.run(
            ["git", *words], capture_output=True, text=True, start_new_session=True
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


@contextmanager
def _checkout(commit: str) -> Iterator[Path]:
    """A working tree of its own with that commit. Raises RunError where mssbench is not in it."""
    with tempfile.TemporaryDirectory(prefix="mssbench-ab-") as folder:
        tree = Path(folder) / "tree"
        add = ["git", "worktree", "add", "--detach", "--quiet", str(tree), commit]
        done = subprocess.run(add, capture_output=True, text=True, start_new_session=True)
        if done.returncode:
            raise RunError(f"{commit[:12]} cannot be checked out: {done.stderr.strip()}.")
        try:
            if not (tree / "mssbench" / "worker.py").is_file():
                raise RunError(f"{commit[:12]} has no mssbench at its top.")
            yield tree
        finally:
            _git("worktree", "remove", "--force", str(tree))


def tables(found: Result, display: str) -> Iterator[RenderableType]:
    """The rows, the null arm, the doubts; the line for machines last."""
    yield Text(_machines(found), "dim")
    loud = [c for c in found.changes if display != "simple" or c.verdict not in QUIET]
    yield from differences.changes(loud, display)
    yield from _look(found)
    yield from _null(found)
    for doubt in found.doubts:
        yield Text(f"unclear: {doubt}", "yellow")
    for remark in found.remarks:
        yield Text(remark, "dim")
    yield differences.verdicts(found.verdicts)
    yield Text(last_line(found.outcome, found.verdicts), no_wrap=True, overflow="ignore")


def _look(found: Result) -> Iterator[RenderableType]:
    """Slowdowns too small or too scattered to be confirmed."""
    if not found.look:
        return
    named = [f"{c.pair.row['method']}, {where(c.pair.row)}: {units.ratio(c.ratio or 1.0)}"
             for c in found.look]  # fmt: skip
    more = [f"and {len(named) - _LOOKED} more"] if len(named) > _LOOKED else []
    lines = ["worth a look, though nothing was confirmed:", *named[:_LOOKED], *more]
    yield Text("\n  ".join(lines))


def _null(found: Result) -> Iterator[RenderableType]:
    if not found.null_rows:
        return
    rows = units.count(found.null_rows, "row")
    least = sorted(c.detectable for c in found.changes if c.detectable is not None)
    told = f"; a slowdown of {100 * least[len(least) // 2]:.0f} % shows here" if least else ""
    yield Text(
        f"base against itself, {rows}: {100 * found.null.bias:.1f} % apart in the median, "
        f"{100 * found.null.floor:.1f} % in the worst of twenty{told}", "dim",
    )  # fmt: skip


def _machines(found: Result) -> str:
    """`torch 2.11.0 -> 2.13.0`: in what the two sides differ as far as is known."""
    base, new = (found.facts.get(name, {}) for name in (ab.BASE, ab.NEW))
    then, now = ({k: side.get(k) for k in ("python", "commit")} | side.get("versions", {})
                 for side in (base, new))  # fmt: skip
    differ = [
        f"{name} {then.get(name) or 'none'} -> {now.get(name) or 'none'}"
        for name in sorted(then.keys() | now.keys())
        if then.get(name) != now.get(name)
    ]
    return ", ".join(differ) or "both sides have the same versions"


def data(found: Result, code: int) -> dict[str, Any]:
    """All of it, for JSON. code: with which the process will exit."""
    return {
        "verdict": found.outcome,
        "exit_code": code,
        "verdicts": dict(found.verdicts),
        "doubts": list(found.doubts),
        "remarks": list(found.remarks),
        "worth_a_look": [change_data(c) for c in found.look],
        "null": {"rows": found.null_rows, "bias": found.null.bias, "floor": found.null.floor,
                 "confirmed": list(found.null.confirmed)},
        "facts": found.facts,
        "rows": [change_data(c) for c in found.changes],
    }  # fmt: skip
