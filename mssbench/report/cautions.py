"""What a reader of figures has to know: disturbed times, and runs of several environments."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

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

    if len(names := environments(runs)) > 1:
        warning = "These rows are of several environments: their times cannot be compared."
        yield Caution(
            "\n".join([warning, *(f"  {', '.join(of)}: {name}" for name, of in names)]),
            f"Warning: {warning[0].lower()}{warning[1:]}",
        )


def environments(runs: Sequence[Measured]) -> list[tuple[str, list[str]]]:
    """Return a description of each environment of the rows, with the names of its runs.

    An environment is the hardware with the versions of the libraries, see records/facts.py.
    """
    described: dict[str, tuple[str, list[str]]] = {}
    for run in runs:
        for name in (e for e in run.rows["environment"].unique() if e):
            facts = run.facts["environments"].get(name)
            _, of = described.setdefault(canonical(name, facts), (machine(facts, name), []))
            if run.name not in of:
                of.append(run.name)
    return list(described.values())
