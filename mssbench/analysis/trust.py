"""Decide whether times of a run can be compared, from load, disturbances and machine drift."""

import os
from collections import Counter
from collections.abc import Container, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from mssbench.records.facts import canonical, machine
from mssbench.records.noise import DISTURBED, MEANING, SPOILT

if TYPE_CHECKING:
    import pandas as pd

# Load average for each core at the start of a run. A shell and a monitor cause less than one; above
# this limit other processes share the cores with the measured one.
_BUSY_LOAD = 1.5
# Fraction of disturbed rows. Another process that runs only for a part of the run disturbs fewer.
_MOST_DISTURBED = 0.5
# Flags of other load, or of a device that slowed down. A queue gap is not among them: a method
# causes it itself, by more launches than the driver can queue.
_SPOILING = DISTURBED - {"queue_gap"}


class Trust(NamedTuple):
    """The state of a machine while a table was measured on it."""

    load: float | None  # load average when a run began, the largest of all runs
    cores: int | None  # cores that the runs could use, the smallest number
    measured_drift: float | None  # relative change of the machine's ceilings during the run
    why_not: str  # why times cannot be compared, completing "The machine ..."; empty if they can
    runs: tuple[Mapping[str, Any], ...] = ()  # the recorded facts of each run of the rows
    mixed: bool = False  # whether they cannot because the rows are of several machines

    @property
    def drift(self) -> float:
        """The measured drift, or 0 if the ceilings were measured only once."""
        return self.measured_drift or 0.0

    @property
    def comparable(self) -> bool:
        """Whether the times may be compared."""
        return not self.why_not


def trust(frame: "pd.DataFrame", facts: Mapping[str, Any]) -> Trust:
    """Return the state of the machine, from the flags of timed rows and the facts of their runs.

    If the rows of a device are of several machines, their times cannot be compared either.
    """
    timed = frame[frame["seconds_median"].notna()]
    runs = [facts.get("runs", {}).get(run_id, {}) for run_id in timed["run_id"].unique()]
    environments = [facts.get("environments", {}).get(e, {}) for e in timed["environment"].unique()]
    loads = [run["load_start"][0] for run in runs if run.get("load_start")]
    cores = [e["cores"]["granted"] for e in environments if e.get("cores", {}).get("granted")]
    drift = max((run["drift"] for run in runs if run.get("drift") is not None), default=None)
    load, granted = max(loads, default=None), min(cores, default=None)

    why_not = _why_not(
        load, granted, drift, timed, "the run" if len(runs) < 2 else "one of its runs"
    )
    found = [] if why_not else mixture(timed, facts)
    if found:
        why_not = f"was not the same for all rows: some are of {', others of '.join(found)}"
    return Trust(load, granted, drift, why_not, tuple(run for run in runs if run), bool(found))


def mixture(frame: "pd.DataFrame", facts: Mapping[str, Any]) -> list[str]:
    """Return the machines of the rows of one device, if they are several; else an empty list.

    Rows of a CPU and of a GPU are never compared with each other, and the worker processes of the
    two see different machines: that of the CPU sees no GPU.
    """
    known = facts.get("environments", {})
    for _, hashes in frame.groupby("device", sort=False)["environment"]:
        found = {canonical(e, known.get(e)): e for e in hashes.unique() if e}
        if len(found) > 1:
            texts = {e: machine(known.get(e), e) for e in found.values()}
            alike = len({*texts.values()}) < len(texts)  # they differ in a fact that is not named
            return [f"{text} (environment {e})" if alike else text for e, text in texts.items()]
    return []


def busy_now() -> str:
    """Return the present load of this machine if it is too high to measure; else empty."""
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    return f"load {load:.1f} on {cores} cores" if load > _BUSY_LOAD * cores else ""


def flags(rows: "pd.DataFrame", known: Container[str] | None = None) -> Counter[str]:
    """Count the rows that have each flag. known: the flags that are counted; all by default."""
    counts: Counter[str] = Counter()
    for text, count in rows["flags"].value_counts().items():  # few distinct texts, many rows
        for flag in {*str(text).split()}:
            if known is None or flag in known:
                counts[flag] += int(count)
    return counts


def _why_not(
    load: float | None, cores: int | None, drift: float | None, timed: "pd.DataFrame", run: str
) -> str:
    """Return why times cannot be compared, completing "The machine ..."; empty if they can.

    load: the load average. cores: usable ones. drift: relative change of speed. timed: the rows.
    run: the words for the run or runs.
    """
    if load is not None and cores is not None and load > _BUSY_LOAD * cores:
        return f"was busy when {run} began: load {load:.1f} on {cores} cores"
    for flag, rows in flags(timed, _SPOILING).most_common(1):
        if rows > _MOST_DISTURBED * len(timed):
            share = 100 * rows / len(timed)
            return f"was disturbed in {share:.0f} % of the measurements: {MEANING[flag]}"
    if drift is not None and drift > SPOILT:
        return f"changed its speed by {100 * drift:.0f} % during {run}"
    return ""
