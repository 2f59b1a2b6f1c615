"""Resolve `--base` and `--new` to an interpreter, a git revision, or a method of the suite."""

import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import mssbench
from mssbench.ab import effects, revisions, run
from mssbench.ab.duel import Contest
from mssbench.engines.start import Setup
from mssbench.errors import RunError, nearest
from mssbench.machine import devices
from mssbench.records import units
from mssbench.records.cell import Cell
from mssbench.results.labels import label
from mssbench.suite.suite import Suite

_ONE = {"interpreter": "an interpreter", "revision": "a revision", "method": "a method"}


@dataclass(frozen=True)
class Contestant:
    """One side of a comparison, with its interpreter and its cells."""

    kind: str  # interpreter | revision | method
    name: str  # as the user named it; a revision with its hash
    setup: Setup
    cells: tuple[Cell, ...]
    note: str = ""  # a remark for the reader, e.g. on uncommitted changes


def comparable(suite: Suite) -> tuple[Suite, list[str]]:
    """Restrict a suite to one device; return it, and remarks on the cells that are left out.

    If the suite has cells for several devices, the GPU is chosen if there is one, else the CPU.
    With `device = "auto"` a suite may have cells for a GPU that this machine does not have.

    Raises RunError if no cell is left.
    """
    named = {c.device for c in suite.cells}
    device = devices.default_device() if len(named) > 1 else named.pop()
    cells = tuple(c for c in suite.cells if c.device == device)
    if not cells:
        raise RunError(f"suite {suite.name} has no cell for {device}. Choose --device.")

    others = Counter(c.device for c in suite.cells if c.device != device)
    left_out = [
        f"{units.count(n, 'cell')} for {name} left out: --device {name} compares them"
        for name, n in sorted(others.items())
    ]
    return replace(suite, cells=cells), left_out


def contests(base: Contestant, new: Contestant) -> tuple[Contest, ...]:
    """Match the cells of both sides: by cell_id or, for two methods, by everything but the method.

    Raises RunError if only one side is a method, or if two methods have no cells that match.
    """
    if (base.kind == "method") is not (new.kind == "method"):
        raise RunError(
            f"--base is {_ONE[base.kind]} and --new {_ONE[new.kind]}: compare two methods, or two "
            "interpreters or revisions."
        )
    if base.kind != "method":
        return run.contests(base.cells, new.cells)

    places = [{_place(c): c for c in s.cells} for s in (base, new)]
    shared = [place for place in places[0] if place in places[1]]
    if not shared:
        raise RunError(
            f"{base.name} and {new.name} have no cell of the same problem, size and phase."
        )
    return tuple(
        Contest(places[1][p].cell_id, {effects.BASE: places[0][p], effects.NEW: places[1][p]})
        for p in shared
    )


def _place(cell: Cell) -> Cell:
    """Return the cell with its method removed; only whether there is a backward stays in it."""
    step = "" if cell.backward == "none" else "step"
    return replace(
        cell,
        library="",
        forward="",
        backward=step,
        iterations=None,
        backward_iterations=None,
        options="",
    )


@contextmanager
def contestant(flag: str, name: str, suite: Suite, common: Setup) -> Iterator[Contestant]:
    """Find the side that --base or --new names, and give it for the duration of the context.

    The name is looked for among the methods of the suite, then interpreters, then git revisions. A
    revision is checked out in a temporary folder while the context lasts.

    flag: the option, `base` or `new`. name: its value. common: the set-up of both sides. Raises
    RunError for a name that is none of these, with git's reason if git refused.
    """
    labels = {label(asdict(c)) for c in suite.cells}
    if name in labels:
        cells = tuple(c for c in suite.cells if label(asdict(c)) == name)
        yield Contestant("method", name, _with_this_mssbench(common), cells)
    elif (program := _interpreter(name)) is not None:
        # The Python of this process runs the mssbench of this process, installed or not.
        is_this_python = Path(program).absolute() == Path(sys.executable).absolute()
        setup = _with_this_mssbench(common) if is_this_python else common
        yield Contestant("interpreter", name, replace(setup, python=program), suite.cells)
    elif (commit := revisions.commit_of(name)) is not None:
        note = revisions.left_out(name, commit, common.also)
        with revisions.checked_out(name, commit, common.also) as revision:
            setup = replace(common, path=str(revision.tree), also=revision.also)
            yield Contestant("revision", f"{name} ({commit[:12]})", setup, suite.cells, note)
    else:
        near = nearest(name, labels)
        hint = f" Did you mean the method {near!r}?" if near else ""
        raise RunError(
            f"--{flag} {name}: no interpreter, no revision of the current checkout, and no method "
            f"of suite {suite.name}.{hint} Name a Python that has mssbench, such as "
            "$(which python); a commit, branch or tag; or a method as `mssbench show` writes it. "
            "Your own method has to be in the suite; name its file with --also FILE.py. "
            f"{revisions.why_no_commit()}".rstrip()
        )


def _interpreter(name: str) -> str | None:
    """Return the path of the interpreter with this name, or None if there is none.

    A word without a slash that is also a git revision names an interpreter only if it starts with
    `python`.
    """
    if (
        os.sep not in name
        and not name.startswith("python")
        and revisions.commit_of(name) is not None
    ):
        return None
    return shutil.which(name)


def _with_this_mssbench(common: Setup) -> Setup:
    """Return the set-up with which the worker imports the mssbench of this process."""
    return replace(common, path=str(Path(mssbench.__file__).parent.parent))
