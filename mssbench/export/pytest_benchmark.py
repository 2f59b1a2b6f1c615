"""Export to the JSON of pytest-benchmark's `--benchmark-json`, and import from it.

The complete row is stored in `extra_info`, so that `mssbench import` can restore the table.
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

VERSION = "5.0.0"  # the version of pytest-benchmark whose schema is written
KEY = "mssbench"  # the key of extra_info with the row
ESTIMATED = "mssbench_estimated"  # the key of extra_info that lists estimated statistics
_GUESSED = ["max", "mean", "stddev", "ops", "outliers"]  # estimated if there are no samples
_IQR = 1.349  # interquartile range of a normal distribution, in standard deviations
FACTS = "mssbench_facts"  # the key of machine_info with the facts that rows refer to


def text(what: Exported) -> Iterator[str]:
    """Yield the JSON of all rows with a time, in pieces.

    The statistics of a row whose samples were not kept are estimated from its quartiles.
    """
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
    """Return pytest-benchmark's `machine_info` from a run's facts, for its first machine."""
    known = next(iter(facts.get("environments", {}).values()), None) or {}
    return {
        "node": "",
        "machine": "",
        "system": known.get("system", ""),
        "python_version": known.get("python", ""),
        "cpu": {"brand_raw": known.get("cpu", "")},
    }


def _commit(facts: Mapping[str, Any]) -> str:
    """Return the first commit of mssbench that a run's facts name; empty if they name none."""
    known = (f or {} for f in facts.get("environments", {}).values())
    return next((c for f in known if (c := f.get("commit"))), "")


def _benchmark(row: AnyRow, what: Exported) -> dict[str, Any]:
    """Return the entry of one row in the list `benchmarks`."""
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
    """Return a row for strict JSON: infinite numbers and NaN are texts, which import reads back."""
    strict_row = dict(row)
    for name, value in strict_row.items():
        if isinstance(value, float) and not isfinite(value):
            strict_row[name] = str(value)
    return strict_row


def _of_quartiles(row: AnyRow) -> dict[str, Any]:
    """Return statistics estimated from the quartiles of a row whose samples were not kept.

    The statistics in _GUESSED are estimated as for a normal distribution, because pytest-benchmark
    cannot read null in their place. `data` is empty, so that import does not take it for samples.
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
    """Return the statistics that pytest-benchmark stores for the samples of a benchmark.

    samples: in seconds per call. iterations: calls of each sample.
    """
    x = sorted(samples)
    q1, median, q3 = (quantile(x, q) for q in (0.25, 0.5, 0.75))
    mean = fmean(x)
    # statistics.stdev computes with fractions, which takes a minute for a large run.
    spread = sqrt(fsum((s - mean) ** 2 for s in x) / (len(x) - 1)) if len(x) > 1 else 0.0

    low, high = q1 - 1.5 * (q3 - q1), q3 + 1.5 * (q3 - q1)  # the fences of Tukey's box plot
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
    """Return the rows, facts and samples of a pytest-benchmark document.

    document: the parsed JSON. Benchmarks that are not of mssbench are skipped. Raises KeyError,
    TypeError, ValueError or AttributeError for a document of another shape.
    """
    cells, samples = [], {}
    for benchmark in document["benchmarks"]:
        row = benchmark.get("extra_info", {}).get(KEY)
        if row is None:
            continue
        cells.append(row)
        place = tuple(row[k] for k in ("cell_id", "phase", "clock", "cache"))
        samples[place] = [float(s) for s in benchmark["stats"].get("data") or []]

    facts = document.get("machine_info", {}).get(FACTS) or {"environments": {}, "runs": {}}
    return cells, facts, samples
