"""What a reader of figures has to know: disturbed times, and runs of several environments."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mssbench.analysis import advice
from mssbench.analysis.trust import trust
from mssbench.records.facts import canonical, machine
from mssbench.report.drawn import Measured


class Caution(NamedTuple):
    """Why times cannot be compared.

    text: with what to do about it. short: for a line in a figure.
    """

    text: str
    short: str


def cautions(runs: Sequence[Measured]) -> Iterator[Caution]:
    """Yield why the times of some runs cannot be compared; nothing if they can."""
    for run in runs:
        reliability = trust(run.rows, run.facts)
        if not reliability.comparable and not reliability.mixed:  # see below
            before = f"{run.name}: " if len(runs) > 1 else ""
            yield Caution(
                before + advice.warning(reliability, "--fresh").strip(),
                f"Warning: {before}the machine {reliability.why_not}. "
                "Its times cannot be compared.",
            )

    if found := mixed_environments(runs):
        warning = "These rows are of several environments: their times cannot be compared."
        yield Caution(
            "\n".join([warning, *(f"  {', '.join(e.runs)}: {e.text}" for e in found)]),
            f"Warning: {warning[0].lower()}{warning[1:]}",
        )


class Environment(NamedTuple):
    """Hardware with the versions of the libraries, on which rows were measured.

    text: a description of the machine. facts: see records/facts.py; None if a run has none. runs:
    the names of the runs that have rows of it.
    """

    text: str
    facts: Mapping[str, Any] | None
    runs: list[str]


def mixed_environments(runs: Sequence[Measured]) -> list[Environment]:
    """Return the environments of the rows, if those of one device are of several; else nothing.

    They are in the order in which they occur. Rows of a CPU and of a GPU are never compared with
    each other, see analysis/trust.py.
    """
    found: dict[str, Environment] = {}
    of_device: dict[str, set[str]] = {}
    for run in runs:
        places = run.rows[["device", "environment"]].drop_duplicates()
        for device, name in places.itertuples(index=False, name=None):
            if not name:
                continue
            facts = run.facts["environments"].get(name)
            key = canonical(name, facts)
            of_device.setdefault(device, set()).add(key)
            of = found.setdefault(key, Environment(machine(facts, name), facts, [])).runs
            if run.name not in of:
                of.append(run.name)
    return list(found.values()) if any(len(keys) > 1 for keys in of_device.values()) else []
