"""The hash of the code behind a row: with another one, old rows are measured again, not trusted."""

import hashlib
import inspect
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path

from mssbench.registry import Method

# What every cell passes through, whatever its methods. Data of the problems counts too.
_SHARED = (
    "arrays.py", "backward/implicit.py", "bench.py", "bounds.py", "clock.py", "coupled.py",
    "decompose.py", "exact.py", "forward/eigh.py", "forward/pade.py", "measure.py", "memory.py",
    "reference.py", "roots.py", "schedules.py", "singular.py", "truth.py",
    "problems/*.py", "problems/data/*",
)  # fmt: skip


@cache
def code_hash(*chosen: Method) -> str:
    """12 hex digits over the source of the methods and of all that measures them."""
    digest = hashlib.sha256(_shared())
    for method in chosen:
        # the registry may have wrapped it: what counts is the file it was written in
        source = inspect.getsourcefile(inspect.unwrap(method.call))
        digest.update(Path(source or "").read_bytes())
        if method.package:
            digest.update(_release(method.package.partition(".")[0]).encode())
    return digest.hexdigest()[:12]


def _release(package: str) -> str:
    """Name and version of what provides a package: `POT 0.9.7` of `ot`."""
    names = sorted(set(packages_distributions().get(package, ())))
    return ", ".join(f"{name} {version(name)}" for name in names)


@cache
def _shared() -> bytes:
    package, digest = Path(__file__).parent, hashlib.sha256()
    for pattern in _SHARED:
        for file in sorted(package.glob(pattern)):
            digest.update(file.read_bytes())
    return digest.digest()
