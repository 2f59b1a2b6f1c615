"""`mssbench doctor`: what this machine is, what can run on it, and what to do about the rest."""

import os
from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from mssbench import arrays, console, environment, methods, units
from mssbench.errors import NotInstalled, Unavailable


def examine() -> dict[str, Any]:
    """Facts, what can run, and findings, each with its consequence and remedy."""
    # what a worker gets, so that the environment has the name that a run's rows will carry
    os.environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))
    facts = environment.describe()
    backends = [
        _backend(library, device)
        for library in arrays.LIBRARIES
        for device in arrays.DEVICES[library]
    ]
    return {
        "environment": environment.identify(facts),
        "facts": facts,
        "backends": backends,
        "findings": list(_findings(facts, backends)),
    }


def _backend(library: str, device: str) -> dict[str, Any]:
    forwards = [m.name for m in methods.known("forward").values() if library in m.libraries]
    found = {"library": library, "device": device, "available": True, "reason": ""}
    try:
        environment.check_library(library, device)
    except (NotInstalled, Unavailable) as error:
        found |= {"available": False, "reason": str(error)}
    return found | {"forwards": forwards}


def _findings(facts: dict[str, Any], backends: list[dict[str, Any]]) -> Iterator[dict[str, str]]:
    """What will spoil or shorten a measurement here."""
    cores, load = facts["cores"], facts["load"][0]
    granted = cores["granted"]
    if load > max(0.5, 0.25 * granted):
        yield {
            "finding": f"load average {load:.1f} on {granted} cores: something else is running",
            "remedy": "wait for it, or stop it; `top` says what it is",
        }
    if facts["torch_threads"] > granted:
        yield {
            "finding": f"torch uses {facts['torch_threads']} threads on {granted} cores",
            "remedy": f"export OMP_NUM_THREADS={granted}",
        }
    if cores["physical"] and granted > cores["physical"]:
        yield {
            "finding": f"{granted} threads granted on {cores['physical']} physical cores",
            "remedy": f"taskset -c 0-{cores['physical'] - 1} mssbench ... for steadier times",
        }
    if facts["governor"] not in (None, "performance"):
        yield {
            "finding": f"CPU governor is {facts['governor']}: the clock changes meanwhile",
            "remedy": "sudo cpupower frequency-set -g performance",
        }
    if facts["gpus"] and facts["float32_matmul_precision"] != "highest":
        yield {
            "finding": f"float32 products are {facts['float32_matmul_precision']} by default",
            "remedy": "mssbench sets its own rule per cell; your program should say which it wants",
        }
    for backend in backends:
        if not backend["available"]:
            yield {
                "finding": f"{backend['library']} on {backend['device']} cannot run",
                "remedy": backend["reason"],
            }
    if "MSSBENCH_LOCKS" in os.environ:
        yield {
            "finding": "MSSBENCH_LOCKS is set: runs with another folder may use the same device",
            "remedy": "unset MSSBENCH_LOCKS",
        }


def report(found: dict[str, Any]) -> Iterator[RenderableType]:
    """The same for people."""
    facts = found["facts"]
    cores = facts["cores"]
    lines = {
        "cpu": f"{facts['cpu']}, {cores['granted']} cores granted of {cores['logical']}",
        "memory": units.size(facts["memory_bytes"]),
        "gpu": ", ".join(g["name"] for g in facts["gpus"]) or "none",
        "driver": facts["driver"] or "none",
        "cuda": facts["cuda"] or "none: this torch is a CPU build",
        "system": facts["system"],
        "python": facts["python"],
        "versions": ", ".join(f"{k} {v}" for k, v in facts["versions"].items() if v),
        "blas": ", ".join(f"{k}: {v}" for k, v in facts["blas"].items()),
        "threads": f"torch {facts['torch_threads']}",
        "float32 products": f"{facts['float32_matmul_precision']} (tf32 if a cell asks for it)",
        "load": ", ".join(f"{x:.2f}" for x in facts["load"]),
        "environment": found["environment"],
    }
    yield console.listing("machine", [{"fact": k, "value": v} for k, v in lines.items()])
    yield console.listing("backends", [
        {
            "library": b["library"],
            "device": b["device"],
            "here": "yes" if b["available"] else b["reason"],
            "forwards": b["forwards"],
        }
        for b in found["backends"]
    ])  # fmt: skip
    if found["findings"]:
        yield console.listing("findings", found["findings"])
    else:
        yield Text("No finding: measure away.", style="green")
