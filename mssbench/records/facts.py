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
    cpu = ", ".join(filter(None, [facts.get("cpu"), _cores(facts.get("cores", {}))]))
    known = facts.get("versions", {})
    versions = ", ".join(f"{k} {known[k]}" for k in ("torch", "cupy", "numpy") if known.get(k))
    return "; ".join(filter(None, [gpu, cpu, versions])) or f"an unknown machine ({environment})"


def _cores(cores: Facts) -> str:
    """`2 cores`, or `0.5 of 64 cores` in a container that may use them half a core's time."""
    granted, quota = cores.get("granted"), cores.get("quota")
    if not granted:
        return ""
    count = units.count(granted, "core")
    return f"{quota:g} of {count}" if quota is not None and quota < granted else count


# Facts that make two measurements comparable; the rest (load, time, temperature) is their weather.
IDENTITY = (
    "cpu",
    "vector_extensions",
    "cores",
    "threads",
    "torch_threads",
    "system",
    "python",
    "versions",
    "blas",
    "gpus",
    "driver",
    "cuda",
)


# Packages that are no part of a call: they read and write tables. What our own code does is told by
# the code hash of each row.
_NOT_TIMED = ("mssbench", "pandas", "pyarrow")


def comparable(facts: Facts) -> dict[str, Any]:
    """Of the facts of a machine those that must agree where times are compared.

    A package that is not installed is as one that an older table does not name.
    """
    chosen = {name: facts.get(name) for name in IDENTITY}
    return {name: _stated(x) if isinstance(x, Mapping) else x for name, x in chosen.items()}


def _stated(versions: Facts) -> dict[str, Any]:
    return {k: v for k, v in versions.items() if k not in _NOT_TIMED and v is not None}


def identify(facts: Facts) -> str:
    """12 hex digits over the facts that make two measurements comparable."""
    text = json.dumps(comparable(facts), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def canonical(environment: str, facts: Facts | None) -> str:
    """The name that an environment has today; the one that a table gives it where it has no facts.

    Which facts name an environment has changed and may change again. Two tables of one machine
    then have different names for it, and only the facts themselves tell that it is the same one.
    """
    return identify(facts) if facts else environment


def difference(before: Facts | None, now: Facts | None) -> str:
    """The first fact in which two machines differ, in words."""
    if before is None or now is None:
        return "the facts of one are not known"
    then, today = comparable(before), comparable(now)
    for name in IDENTITY:
        if then[name] != today[name]:
            return f"{name}: {_apart(then[name], today[name])}"
    return "though no fact that is known differs"


def _apart(then: Any, now: Any) -> str:
    """`Alpha then, Beta now`; of a dictionary only its first entry that differs, with its name."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        name = next(k for k in sorted({*then, *now}) if then.get(k) != now.get(k))
        return f"{name} {then.get(name)} then, {now.get(name)} now"
    return f"{then} then, {now} now"
