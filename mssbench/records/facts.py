"""What makes two machines comparable, from the facts beside a table."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from mssbench import units

LIBRARIES = ("torch", "numpy", "cupy")  # whose versions decide what a call is made of
Facts = Mapping[str, Any]


def versions_agree(base: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether two machines' facts name the same releases of the array libraries."""
    return bool(base) and bool(new) and releases(base) == releases(new)


def releases(facts: Mapping[str, Any]) -> dict[str, str]:
    """The public versions of the array libraries: 2.13.0+cpu is a build of 2.13.0."""
    known = facts.get("versions", {})
    return {k: str(known.get(k) or "none").partition("+")[0] for k in LIBRARIES}


def machine(facts: Mapping[str, Any] | None, environment: str) -> str:
    """`NVIDIA H200 (driver 580.1); AMD EPYC, 2 cores; torch 2.13.0, numpy 2.4.6`."""
    if facts is None:
        return f"an unknown machine ({environment})"
    gpus = Counter(gpu["name"] for gpu in facts.get("gpus", ()))  # an old file may lack any fact
    names = ", ".join(name if n == 1 else f"{n} x {name}" for name, n in gpus.items())
    gpu = f"{names} (driver {facts.get('driver')})" if names else ""
    granted = facts.get("cores", {}).get("granted")
    cpu = ", ".join(filter(None, [facts.get("cpu"), granted and units.count(granted, "core")]))
    known = facts.get("versions", {})
    versions = ", ".join(f"{k} {known[k]}" for k in ("torch", "cupy", "numpy") if known.get(k))
    return "; ".join(filter(None, [gpu, cpu, versions])) or f"an unknown machine ({environment})"


# Facts that make two measurements comparable; the rest (load, time, temperature) is their weather.
IDENTITY = (
    "cpu", "cores", "threads", "torch_threads", "system", "python", "versions", "blas",
    "gpus", "driver", "cuda",
)  # fmt: skip


def identify(facts: dict[str, Any]) -> str:
    """12 hex digits over the facts that make two measurements comparable."""
    chosen = {name: facts.get(name) for name in IDENTITY}
    return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:12]


def difference(before: dict[str, Any] | None, now: dict[str, Any] | None) -> str:
    """The first fact in which two machines differ, in words."""
    if before is None or now is None:
        return "the facts of one are not known"
    for name in IDENTITY:
        if before.get(name) != now.get(name):
            return f"{name}: {before.get(name)} then, {now.get(name)} now"
    return "though no fact that is known differs"
