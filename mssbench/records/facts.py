"""Compare the machines of two runs, by the facts (hardware, versions) in environment.json."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from mssbench.records import units

LIBRARIES = ("torch", "numpy", "cupy")  # their versions determine which kernels a call runs
Facts = Mapping[str, Any]


def versions_agree(base: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether the facts of two machines contain the same releases of the array libraries."""
    return bool(base) and bool(new) and releases(base) == releases(new)


def releases(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return the releases of the array libraries, without build tags: 2.13.0 for 2.13.0+cpu."""
    known = facts.get("versions", {})
    return {k: str(known.get(k) or "none").partition("+")[0] for k in LIBRARIES}


def machine(facts: Mapping[str, Any] | None, environment: str) -> str:
    """Return a short description of a machine; without facts it contains the hash `environment`.

    For example `NVIDIA H200 (driver 580.1); AMD EPYC, 2 cores; torch 2.13.0, numpy 2.4.6`.
    """
    if facts is None:
        return f"an unknown machine ({environment})"

    # A file of an older version may lack any fact.
    gpus = Counter(gpu["name"] for gpu in facts.get("gpus", ()))
    names = ", ".join(name if n == 1 else f"{n} x {name}" for name, n in gpus.items())
    gpu = f"{names} (driver {facts.get('driver')})" if names else ""
    cpu = ", ".join(filter(None, [facts.get("cpu"), _cores(facts.get("cores", {}))]))
    known = facts.get("versions", {})
    versions = ", ".join(f"{k} {known[k]}" for k in ("torch", "cupy", "numpy") if known.get(k))
    return "; ".join(filter(None, [gpu, cpu, versions])) or f"an unknown machine ({environment})"


def _cores(cores: Facts) -> str:
    """Return `2 cores`, or `0.5 of 64 cores` in a container whose quota is half a core."""
    granted, quota = cores.get("granted"), cores.get("quota")
    if not granted:
        return ""
    count = units.count(granted, "core")
    return f"{quota:g} of {count}" if quota is not None and quota < granted else count


# Facts that must agree for times to be comparable. All others (load, date, temperature) describe
# the state of the machine and may change from run to run.
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


# Packages whose code is not timed: they read and write tables. Changes of mssbench itself are
# detected by the code hash of each row.
_NOT_TIMED = ("mssbench", "pandas", "pyarrow")


def comparable(facts: Facts) -> dict[str, Any]:
    """Return the facts of a machine that must agree for times to be comparable.

    Packages that are not installed are left out, because older tables do not mention them.
    """
    chosen = {name: facts.get(name) for name in IDENTITY}
    return {name: _stated(x) if isinstance(x, Mapping) else x for name, x in chosen.items()}


def _stated(versions: Facts) -> dict[str, Any]:
    return {k: v for k, v in versions.items() if k not in _NOT_TIMED and v is not None}


def identify(facts: Facts) -> str:
    """Return a hash, 12 hex digits, of the facts that must agree for times to be comparable."""
    text = json.dumps(comparable(facts), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def canonical(environment: str, facts: Facts | None) -> str:
    """Return the hash of a machine's facts, by the rules of this version of mssbench.

    Which facts are hashed has changed between versions and may change again, so that two tables
    may have different hashes for one machine. The hash is therefore computed again from the facts.
    Without facts, `environment` is returned, which is the hash in the table.
    """
    return identify(facts) if facts else environment


def difference(before: Facts | None, now: Facts | None) -> str:
    """Return a part of a sentence on the first fact that differs: `cpu: Alpha then, Beta now`."""
    if before is None or now is None:
        return "the facts of one are not known"
    then, today = comparable(before), comparable(now)
    for name in IDENTITY:
        if then[name] != today[name]:
            return f"{name}: {_apart(then[name], today[name])}"
    return "though no fact that is known differs"


def _apart(then: Any, now: Any) -> str:
    """Return `Alpha then, Beta now`; for dictionaries, the first entry that differs."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        name = next(k for k in sorted({*then, *now}) if then.get(k) != now.get(k))
        return f"{name} {then.get(name)} then, {now.get(name)} now"
    return f"{then} then, {now} now"
