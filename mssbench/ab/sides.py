"""The meaning of `--base` and `--new`: an interpreter, a revision, or a method of the suite."""

import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import mssbench
from mssbench import units
from mssbench.ab import effects, revisions, run
from mssbench.ab.duel import Contest
from mssbench.engines.start import Setup
from mssbench.errors import RunError, nearest
from mssbench.machine import devices
from mssbench.records.cell import Cell
from mssbench.results.labels import label
from mssbench.suite.suite import Suite

_ONE = {"interpreter": "an interpreter", "revision": "a revision", "method": "a method"}


@dataclass(frozen=True)
class Contestant:
    """One side as the user named it, and the interpreter and cells that this means."""

    kind: str  # interpreter | revision | method
    name: str
    setup: Setup
    cells: tuple[Cell, ...]
    note: str = ""  # what a reader should know about it


def comparable(suite: Suite) -> tuple[Suite, list[str]]:
    """With the cells of one device: of the GPU where there is one, else those that a CPU can run.

    `auto` sends the cells of a library that knows no other device to a GPU that may not be here.
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
    """The cells of both sides together: those of one id, or with two methods, of one place."""
    if (base.kind == "method") is not (new.kind == "method"):
        raise RunError(
            f"--base is {_ONE[base.kind]} and --new {_ONE[new.kind]}: compare two methods, or two "
            "sides that each run all of them."
        )
    if base.kind != "method":
        return run.contests(base.cells, new.cells)
    places = [{_place(c): c for c in s.cells} for s in (base, new)]
    shared = [place for place in places[0] if place in places[1]]
    if not shared:
        raise RunError(f"{base.name} and {new.name} are never measured at the same place.")
    return tuple(
        Contest(places[1][p].cell_id, {effects.BASE: places[0][p], effects.NEW: places[1][p]})
        for p in shared
    )


def _place(cell: Cell) -> Cell:
    """The cell without its method; whether it has a backward pass remains."""
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
    """What a name means: a method of the suite, an interpreter, or a revision, in this order.

    A revision is checked out beside the checkout for as long as this lasts. Raises RunError for a
    name that means none of them, with git's reason where git refused.
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
    elif (commit := revisions.commit_of(name)) is not None:
        note = revisions.left_out(name, commit, common.also)
        with revisions.checked_out(name, commit, common.also) as revision:
            setup = replace(common, path=str(revision.tree), also=revision.also)
            yield Contestant("revision", f"{name} ({commit[:12]})", setup, suite.cells, note)
    else:
        near = nearest(name, labels)
        hint = f" Did you mean the method {near!r}?" if near else ""
        raise RunError(
            f"--{flag} {name}: no interpreter, no revision of the checkout here, and no method of "
            f"suite {suite.name}.{hint} Name a Python that has mssbench, such as $(which python); "
            "a commit, branch or tag; or a method as `mssbench show` writes it. "
            "One of your own has to be in the suite; name its file by --also FILE.py. "
            f"{revisions.why_no_commit()}".rstrip()
        )


def _interpreter(name: str) -> str | None:
    """The program of that path; a bare word is one if it is no revision, or says python."""
    if (
        os.sep not in name
        and not name.startswith("python")
        and revisions.commit_of(name) is not None
    ):
        return None
    return shutil.which(name)


def _own(common: Setup) -> Setup:
    """The interpreter and the mssbench of this process."""
    return replace(common, path=str(Path(mssbench.__file__).parent.parent))
