"""`mssbench doctor`: report the hardware, the usable libraries, and problems with remedies."""

import os
from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from mssbench import arrays
from mssbench.cli.options import Json
from mssbench.cli.output import output, output_json
from mssbench.console import lists
from mssbench.console.terminal import waiting
from mssbench.errors import NotInstalled, Unavailable
from mssbench.machine import devices, findings, linux, probes
from mssbench.machine.facts import describe
from mssbench.methods import registry
from mssbench.records import units
from mssbench.records.facts import identify

# Some reasons end with this reference, which is removed in the output of `doctor` itself.
_SENT_HERE = " (see `mssbench doctor`)"

EXAMPLES = (
    "mssbench doctor",
    "mssbench doctor --json",
)


def command(as_json: Json = False) -> None:
    """Report what can run on this machine, what would spoil its results, and how to fix that."""
    with waiting("examining this machine"):
        examined = examine()
    if as_json:
        output_json("doctor", examined)
    else:
        output(report(examined))


def examine() -> dict[str, Any]:
    """Return what is known of this machine, by the keys of `mssbench doctor --json`.

    environment: the hash of the facts. backends: the pairs of library and device, and why one is
    missing. probes: short measurements of the eigensolvers. findings: problems, each with its
    consequence and remedy. Raises RunError if this system is not Linux, since nothing can be
    measured there.
    """
    linux.require()
    # Workers get this setting too, so that the hash below is the one in the rows of a run.
    os.environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))

    facts = describe()
    backends = [
        _backend(library, device)
        for library in arrays.LIBRARIES
        for device in arrays.DEVICES[library]
    ]

    probed = probes.everything((b["library"], b["device"]) for b in backends if b["available"])
    return {
        "environment": identify(facts),
        "facts": facts,
        "backends": backends,
        "probes": probed.plain(),
        "findings": list(findings.judge(facts, backends, probed)),
    }


def _backend(library: str, device: str) -> dict[str, Any]:
    """Return whether a library can be used on a device here, and the names of its forwards."""
    forwards = [m.name for m in registry.known("forward").values() if library in m.libraries]
    backend = {"library": library, "device": device, "available": True, "reason": ""}
    try:
        devices.check_library(library, device)
    except (NotInstalled, Unavailable) as error:
        backend |= {"available": False, "reason": str(error).removesuffix(_SENT_HERE)}
    return backend | {"forwards": forwards}


def report(examined: dict[str, Any]) -> Iterator[RenderableType]:
    """Yield the result of `examine` as tables and sentences."""
    facts = examined["facts"]
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
        "threads": ", ".join(_pools(examined["probes"]["threads"])),
        "float32 products": f"{facts['float32_matmul_precision']} (tf32 if a cell asks for it)",
        "load": ", ".join(f"{x:.2f}" for x in facts["load"]),
        "environment": examined["environment"],
    }
    yield lists.listing("machine", [{"fact": k, "value": v} for k, v in lines.items()])

    backends = [
        {
            "library": b["library"],
            "device": b["device"],
            "here": "yes" if b["available"] else b["reason"],
            "forwards": len(b["forwards"]),
        }
        for b in examined["backends"]
    ]

    yield lists.listing("backends", backends)
    yield Text("`mssbench list backends` names the forwards\n", style="dim")

    yield lists.listing("probes", _probe_rows(examined["probes"]))
    if examined["findings"]:
        yield lists.remarks("findings", examined["findings"])
    else:
        yield Text("No problem was found.", style="green")


def _probe_rows(probed: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Yield a line for each `eigh`, of a library, device and precision; a dash: the probe failed.

    probed: the value of `probes` in the result of `examine`.
    """
    by_solver: dict[tuple[str, ...], dict[str, list[dict[str, Any]]]] = {}
    for kind in ("cliff", "convergence", "orthonormality"):
        for p in probed[kind]:
            solver = p["library"], p["device"], p["precision"]
            by_solver.setdefault(solver, {}).setdefault(kind, []).append(p)

    for (library, device, precision), kinds in by_solver.items():
        times = kinds.get("cliff", [{}])[0]
        dead = kinds.get("convergence", [])
        failures = (f"{c['raised'] + c['nan'] + c['wrong']} of {c['tried']} failed" for c in dead)
        worst = [o["worst"] for o in kinds.get("orthonormality", [{"worst": None}])]
        yield {
            "eigh": f"{library} on {device}, {precision}",
            "n = 32": units.seconds(times.get("seconds_32")),
            "n = 33": units.seconds(times.get("seconds_33")),
            "dead channels": "".join(failures) or "-",
            "max |VᵀV - I|": "-" if None in worst else units.error(max(worst)),
        }


def _pools(threads: dict[str, Any]) -> Iterator[str]:
    """Yield each thread pool once, with its number of threads: `torch 2`, `libgomp 2`."""
    yield from dict.fromkeys(f"{p['name']} {p['threads']}" for p in threads["pools"])
