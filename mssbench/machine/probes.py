"""What the eigensolvers and the threads of this machine do, in numbers; `doctor` judges them.

A probe leaves everything as it was. It computes with one thread, whose time and answers do not
depend on who else has the other cores; not by `torch.set_num_threads`, which would change MKL for
the rest of the process.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from mssbench.machine.eigensolvers import (
    PRECISIONS,
    Cliff,
    Convergence,
    Orthonormality,
    cliff,
    convergence,
    orthonormality,
)
from mssbench.machine.threads import Threads, threads


class Broken(NamedTuple):
    """A probe that ended with an error nobody foresaw."""

    library: str
    device: str
    probe: str
    error: str


class Probed(NamedTuple):
    """All probes of a machine."""

    threads: Threads
    cliff: tuple[Cliff, ...]
    convergence: tuple[Convergence, ...]
    orthonormality: tuple[Orthonormality, ...]
    broken: tuple[Broken, ...]

    def plain(self) -> dict[str, Any]:
        """The same as dictionaries and lists, for JSON."""
        threads = self.threads._asdict()
        threads["pools"] = [p._asdict() for p in self.threads.pools]
        rest = (f for f in self._fields if f != "threads")
        return {"threads": threads} | {f: [x._asdict() for x in getattr(self, f)] for f in rest}


def everything(solvers: Iterable[tuple[str, str]]) -> Probed:
    """Every probe, on every (library, device) whose `eigh` runs here. Imports torch."""
    found: dict[str, list[Any]] = {"cliff": [], "convergence": [], "orthonormality": []}
    broken = []
    each: dict[str, Callable[..., Any]] = {
        "cliff": cliff,
        "convergence": convergence,
        "orthonormality": orthonormality,
    }
    read = threads()  # before the others load what they need
    for library, device in solvers:
        for name, probe in each.items():
            more = [(n,) for n in (16, 64)] if name == "orthonormality" else [()]
            try:
                for precision in PRECISIONS:
                    found[name] += [probe(library, device, precision, *m) for m in more]
            except Exception as error:  # a doctor who dies of what he finds helps nobody
                text = f"{type(error).__name__}: {error}".partition("\n")[0]
                broken.append(Broken(library, device, name, text))
    lists = {name: tuple(records) for name, records in found.items()}
    return Probed(threads=read, broken=tuple(broken), **lists)
