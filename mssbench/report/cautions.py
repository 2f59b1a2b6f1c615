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
        if not reliability.comparable:
            before = f"{run.name}: " if len(runs) > 1 else ""
            yield Caution(
                before + advice.warning(reliability, "--fresh").strip(),
                f"Warning: {before}the machine {reliability.why_not}. "
                "Its times cannot be compared.",
            )

    if len(found := environments(runs)) > 1:
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


def environments(runs: Sequence[Measured]) -> list[Environment]:
    """Return each environment of the rows, in the order in which they occur."""
    found: dict[str, Environment] = {}
    for run in runs:
        for name in (e for e in run.rows["environment"].unique() if e):
            facts = run.facts["environments"].get(name)
            new = Environment(machine(facts, name), facts, [])
            of = found.setdefault(canonical(name, facts), new).runs
            if run.name not in of:
                of.append(run.name)
    return list(found.values())
