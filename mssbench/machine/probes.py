"""Run all probes of the eigensolvers and threads of this machine, for `mssbench doctor`.

A probe leaves the settings of the process unchanged. It computes with one thread, so that its time
and result do not depend on other work on the machine. `torch.set_num_threads` is not used for this,
because it would change MKL for the rest of the process.
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
    """A probe that ended with an unexpected error."""

    library: str
    device: str
    probe: str
    error: str


class Probed(NamedTuple):
    """The results of all probes of a machine."""

    threads: Threads
    cliff: tuple[Cliff, ...]
    convergence: tuple[Convergence, ...]
    orthonormality: tuple[Orthonormality, ...]
    broken: tuple[Broken, ...]

    def plain(self) -> dict[str, Any]:
        """Return the results as dictionaries and lists, for JSON."""
        threads = self.threads._asdict()
        threads["pools"] = [p._asdict() for p in self.threads.pools]
        rest = (f for f in self._fields if f != "threads")
        return {"threads": threads} | {f: [x._asdict() for x in getattr(self, f)] for f in rest}


def everything(solvers: Iterable[tuple[str, str]]) -> Probed:
    """Run every probe on every (library, device) in `solvers`. Imports torch."""
    results: dict[str, list[Any]] = {"cliff": [], "convergence": [], "orthonormality": []}
    broken = []
    probes: dict[str, Callable[..., Any]] = {
        "cliff": cliff,
        "convergence": convergence,
        "orthonormality": orthonormality,
    }

    pools = threads()  # first, because the other probes load more libraries
    for library, device in solvers:
        for name, probe in probes.items():
            sizes = [(n,) for n in (16, 64)] if name == "orthonormality" else [()]
            try:
                for precision in PRECISIONS:
                    results[name] += [probe(library, device, precision, *size) for size in sizes]
            except Exception as error:  # any error becomes a finding, and the other probes go on
                text = f"{type(error).__name__}: {error}".partition("\n")[0]
                broken.append(Broken(library, device, name, text))

    lists = {name: tuple(records) for name, records in results.items()}
    return Probed(threads=pools, broken=tuple(broken), **lists)
