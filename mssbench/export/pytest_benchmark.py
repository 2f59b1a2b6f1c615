"""pytest-benchmark's JSON, as `--benchmark-json` writes it and `--benchmark-compare` reads it.

Everything that its schema has no place for stands in `extra_info`, so that `mssbench import` gets
the table back.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import fsum, isfinite, sqrt
from statistics import fmean
from typing import Any

from mssbench.export import Exported
from mssbench.export.json_ import document
from mssbench.records.measurement import AnyRow, Row
from mssbench.records.timing import quantile
from mssbench.results.labels import where

VERSION = "5.0.0"  # of pytest-benchmark, whose schema this is
KEY = "mssbench"  # under which extra_info has a row
ESTIMATED = "mssbench_estimated"  # and which numbers of a row without samples are estimates
_GUESSED = ["max", "mean", "stddev", "ops", "outliers"]
_IQR = 1.349  # of a normal distribution, in deviations
FACTS = "mssbench_facts"  # and machine_info what its identity refers to


def text(what: Exported) -> Iterator[str]:
    """Rows with a time. Of a row whose samples were not kept, quartiles say what they can."""
    runs = what.facts.get("runs", {}).values()
    head = {
        "machine_info": _machine(what.facts) | {FACTS: what.facts},
        "commit_info": {"id": _commit(what.facts), "dirty": "+dirty" in _commit(what.facts)},
    }
    tail = {
        "datetime": max((run.get("started", "") for run in runs), default=""),
        "version": VERSION,
    }
    measured = what.measured()
    yield from document(head, "benchmarks", (_benchmark(row, what) for row in measured), tail)


def _machine(facts: Mapping[str, Any]) -> dict[str, Any]:
    known = next(iter(facts.get("environments", {}).values()), None) or {}
    return {
        "node": "",
        "machine": "",
        "system": known.get("system", ""),
        "python_version": known.get("python", ""),
        "cpu": {"brand_raw": known.get("cpu", "")},
    }


def _commit(facts: Mapping[str, Any]) -> str:
    known = (f or {} for f in facts.get("environments", {}).values())
    return next((c for f in known if (c := f.get("commit"))), "")


def _benchmark(row: AnyRow, what: Exported) -> dict[str, Any]:
    name = row["method"]
    place = tuple(row[k] for k in ("cell_id", "phase", "clock", "cache"))
    samples = what.samples.get(place)
    return {
        "group": where(row),
        "name": name,
        "fullname": f"mssbench::{name} {where(row)}",
        "params": None,
        "param": None,
        "extra_info": {KEY: strict(row)} | ({} if samples else {ESTIMATED: _GUESSED}),
        "options": {"disable_gc": True, "timer": row["clock"], "warmup": True},
        "stats": stats(samples, row["calls"] or 1) if samples else _of_quartiles(row),
    }


def strict(row: AnyRow) -> Row:
    """A row that strict JSON can hold: its infinite numbers as words, which import reads back."""
    found = dict(row)
    for name, value in found.items():
        if isinstance(value, float) and not isfinite(value):
            found[name] = str(value)
    return found


def _of_quartiles(row: AnyRow) -> dict[str, Any]:
    """What a row itself says of samples that were not kept; those of ESTIMATED as for a normal.

    pytest-benchmark cannot read a null there. There is no data, so import takes none for samples.
    """
    low, q1, median, q3 = (row[f"seconds_{name}"] for name in ("min", "q1", "median", "q3"))
    deviation = (q3 - q1) / _IQR
    return stats([low, q1, median, q3], row["calls"] or 1) | {
        "q1": q1,
        "median": median,
        "q3": q3,
        "iqr": q3 - q1,
        "rounds": row["samples"],
        "data": [],
        "mean": median,
        "stddev": deviation,
        "max": max(q3, median + 3 * deviation),
        "ops": 1 / median if median else 0.0,
    }


def stats(samples: Sequence[float], iterations: int) -> dict[str, Any]:
    """The numbers that pytest-benchmark keeps of a list of seconds."""
    x = sorted(samples)
    q1, median, q3 = (quantile(x, q) for q in (0.25, 0.5, 0.75))
    mean = fmean(x)
    # statistics.stdev computes with fractions, which takes a minute for a large run
    spread = sqrt(fsum((s - mean) ** 2 for s in x) / (len(x) - 1)) if len(x) > 1 else 0.0
    low, high = q1 - 1.5 * (q3 - q1), q3 + 1.5 * (q3 - q1)
    outliers = sum(abs(s - mean) > spread for s in x), sum(not low <= s <= high for s in x)
    return {
        "min": x[0],
        "max": x[-1],
        "mean": mean,
        "stddev": spread,
        "rounds": len(x),
        "median": median,
        "iqr": q3 - q1,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": outliers[1],
        "stddev_outliers": outliers[0],
        "outliers": f"{outliers[0]};{outliers[1]}",
        "ld15iqr": next(s for s in x if s >= low),
        "hd15iqr": next((s for s in x if s > high), x[-1]),
        "ops": 1 / mean if mean else 0.0,
        "total": sum(x) * iterations,
        "data": list(samples),
        "iterations": iterations,
    }


def rows(document: Any) -> tuple[list[Row], dict[str, Any], dict[tuple[str, ...], list[float]]]:
    """Rows, facts and samples of such a document, of the benchmarks that are cells of ours.

    Raises KeyError or TypeError for a document of another shape.
    """
    found, samples = [], {}
    for each in document["benchmarks"]:
        row = each.get("extra_info", {}).get(KEY)
        if row is None:
            continue
        found.append(row)
        place = tuple(row[k] for k in ("cell_id", "phase", "clock", "cache"))
        samples[place] = [float(s) for s in each["stats"].get("data") or []]
    facts = document.get("machine_info", {}).get(FACTS) or {"environments": {}, "runs": {}}
    return found, facts, samples
