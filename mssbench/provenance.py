"""The hash of the code behind a row: with another one, old rows are measured again, not trusted."""

import hashlib
import inspect
import re
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

_HERE = Path(__file__).parent
# Of the kernels: what compiles, foretells or hands them to torch, and is in no timed call.
_BESIDE = ("examine.py", "forecast.py", "operators.py", "resources.py")
_LEFT_TO = re.compile(
    rb"^from mssbench\.(forward\.\w+|backward\.spectral|graphs|kernels)\b", re.MULTILINE
)


@cache
def code_hash(*chosen: Method) -> str:
    """12 hex digits over the source of the methods and of all that measures them."""
    digest = hashlib.sha256(_shared())
    for method in chosen:
        # the registry may have wrapped it: what counts is the file it was written in
        source = inspect.getsourcefile(inspect.unwrap(method.call))
        own = Path(source or "").read_bytes()
        digest.update(own)
        for file in _behind(own):
            digest.update(file.read_bytes())
        if method.package:
            digest.update(_release(method.package.partition(".")[0]).encode())
    return digest.hexdigest()[:12]


def _behind(source: bytes) -> list[Path]:
    """What a method leaves its work to: another forward, a law, a captured graph, a kernel."""
    found: list[Path] = []
    for module in sorted({m.decode() for m in _LEFT_TO.findall(source)}):
        pattern = "kernels/*.*" if module == "kernels" else f"{module.replace('.', '/')}.py"
        if pattern not in _SHARED:
            found += sorted(p for p in _HERE.glob(pattern) if p.is_file() and p.name not in _BESIDE)
    return found


def _release(package: str) -> str:
    """Name and version of what provides a package: `POT 0.9.7` of `ot`."""
    names = sorted(set(packages_distributions().get(package, ())))
    return ", ".join(f"{name} {version(name)}" for name in names)


@cache
def _shared() -> bytes:
    digest = hashlib.sha256()
    for pattern in _SHARED:
        for file in sorted(_HERE.glob(pattern)):
            digest.update(file.read_bytes())
    return digest.digest()
