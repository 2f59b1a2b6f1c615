"""pytest-benchmark's JSON, as `--benchmark-json` writes it and `--benchmark-compare` reads it.

Everything that its schema has no place for stands in `extra_info`, so that `mssbench import` gets
the table back.
"""

import json
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from mssbench.export import Exported, where
from mssbench.records import quantile
from mssbench.rows import Row

VERSION = "5.0.0"  # of pytest-benchmark, whose schema this is
KEY = "mssbench"  # under which extra_info has a row
FACTS = "mssbench_facts"  # and machine_info what its identity refers to


def text(what: Exported) -> str:
    """Rows with a time; a row without samples stands on the five numbers that it has."""
    runs = what.facts.get("runs", {}).values()
    found = {
        "machine_info": _machine(what.facts) | {FACTS: what.facts},
        "commit_info": {"id": _commit(what.facts), "dirty": "+dirty" in _commit(what.facts)},
        "benchmarks": [_benchmark(row, what) for row in what.measured()],
        "datetime": max((run.get("started", "") for run in runs), default=""),
        "version": VERSION,
    }
    return json.dumps(found, indent=1, default=str) + "\n"


def _machine(facts: Mapping[str, Any]) -> dict[str, Any]:
    known = next(iter(facts.get("environments", {}).values()), None) or {}
    return {
        "node": "", "machine": "", "system": known.get("system", ""),
        "python_version": known.get("python", ""), "cpu": {"brand_raw": known.get("cpu", "")},
    }  # fmt: skip


def _commit(facts: Mapping[str, Any]) -> str:
    known = (f or {} for f in facts.get("environments", {}).values())
    return next((c for f in known if (c := f.get("commit"))), "")


def _benchmark(row: Row, what: Exported) -> dict[str, Any]:
    name = row["method"]
    place = tuple(row[k] for k in ("cell_id", "phase", "clock", "cache"))
    samples = what.samples.get(place) or _five(row)
    return {
        "group": where(row),
        "name": name,
        "fullname": f"mssbench::{name} {where(row)}",
        "params": None,
        "param": None,
        "extra_info": {KEY: row},
        "options": {"disable_gc": True, "timer": row["clock"], "warmup": True},
        "stats": stats(samples, row["calls"] or 1),
    }


def _five(row: Row) -> list[float]:
    names = ("seconds_min", "seconds_q1", "seconds_median", "seconds_q3", "seconds_high")
    return [row[name] for name in names if row[name] is not None]


def stats(samples: Sequence[float], iterations: int) -> dict[str, Any]:
    """The numbers that pytest-benchmark keeps of a list of seconds."""
    x = sorted(samples)
    q1, median, q3 = (quantile(x, q) for q in (0.25, 0.5, 0.75))
    mean, spread = fmean(x), stdev(x) if len(x) > 1 else 0.0
    low, high = q1 - 1.5 * (q3 - q1), q3 + 1.5 * (q3 - q1)
    outliers = sum(abs(s - mean) > spread for s in x), sum(not low <= s <= high for s in x)
    return {
        "min": x[0], "max": x[-1], "mean": mean, "stddev": spread, "rounds": len(x),
        "median": median, "iqr": q3 - q1, "q1": q1, "q3": q3,
        "iqr_outliers": outliers[1], "stddev_outliers": outliers[0],
        "outliers": f"{outliers[0]};{outliers[1]}",
        "ld15iqr": next(s for s in x if s >= low),
        "hd15iqr": next((s for s in x if s > high), x[-1]),
        "ops": 1 / mean if mean else 0.0, "total": sum(x) * iterations, "data": list(samples),
        "iterations": iterations,
    }  # fmt: skip


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
