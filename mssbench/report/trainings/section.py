"""The section of the report on trainings: what its template shows, and what its scripts read."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mssbench import __version__
from mssbench.analysis.training_claims import TrainingClaimVerdict, TrainingVerdict
from mssbench.analysis.training_sentences import of_grids
from mssbench.records import units
from mssbench.records.facts import machine
from mssbench.report.figures.style import Look, Style
from mssbench.report.packing import packed
from mssbench.report.trainings import figures, sentences, tables
from mssbench.report.trainings.every import every_training
from mssbench.report.trainings.points import NUMBERS, WORDS, points
from mssbench.report.trainings.quantities import QUANTITIES, Quantity
from mssbench.report.trainings.rates import learning_rates
from mssbench.report.trainings.reading import Shown, TrainingRun, about, shown

if TYPE_CHECKING:
    import pandas as pd

# The parts of the section, with their titles, by the ids of their headings.
PARTS = {
    "training-summary": "What the differences say",
    "training-curves": "Accuracy and loss by epoch",
    "training-differences": "Paired differences",
    "training-rates": "Learning rates",
    "training-probes": "Probes of loss and gradient",
    "training-robustness": "Robustness",
    "training-failures": "Failures",
    "training-claims": "Claims of papers on trainings",
    "training-rows": "All trainings",
    "training-environment": "Environment of the trainings",
}


def section(runs: Mapping[str, TrainingRun], look: Look) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the values of the template trainings.html, and what the scripts of the page read.

    runs: by name. look: the colours of the page.
    """
    of_runs = shown(runs)
    every = points(of_runs)
    heads, lines = every_training(of_runs)
    values = {
        "parts": PARTS,
        "counts": _counts(of_runs),
        "cautions": list(sentences.cautions(of_runs)),
        "places": [
            {"title": said.title, "sentences": said.sentences, "how": about(place.group)}
            for said, place in zip(sentences.summary(of_runs), of_runs.places, strict=True)
        ],
        "figures": {
            figure.name: figure
            for figure in figures.FIGURES.values()
            if len(figure.rows(every))  # a part without a figure says why
        },
        "differences": list(tables.differences(of_runs)),
        "rates": list(learning_rates(of_runs)),
        "of_rates": list(of_grids([place.grid for place in of_runs.grids])),
        "probes": list(tables.probes(of_runs)),
        "robustness": list(tables.robustness(of_runs)),
        "failures": list(tables.failures(of_runs)),
        "claims": [
            {"run": name if len(runs) > 1 else "", "verdicts": [_claim(v) for v in run.claims]}
            for name, run in runs.items()
            if run.claims
        ],
        "heads": heads,
        "lines": lines,
        "environment": [_environment(name, run) for name, run in runs.items()],
    }
    return values, _data(of_runs, every, look)


def _data(of_runs: Shown, every: "pd.DataFrame", look: Look) -> dict[str, Any]:
    """Return what the scripts of the page read. every: the rows of all figures."""
    methods = tuple(sorted(every["method"].unique()))
    style = Style({"method": methods}, look, legend=False, by="method")
    drawn = [figure for figure in figures.FIGURES.values() if len(figure.rows(every))]
    used = [QUANTITIES[name] for name in every["chart"].unique()]
    symbols = zip(methods, style.symbols("method"), strict=True)
    return {
        "length": len(every),
        "columns": packed(every, NUMBERS, WORDS),
        "figures": [{"name": figure.name, "title": figure.title} for figure in drawn],
        # The specifications by the form of the quantity, and the form of each quantity.
        "specs": {form: figures.vega(q, style) for form, q in {q.form: q for q in used}.items()},
        "forms": {quantity.name: quantity.form for quantity in used},
        "axes": {quantity.name: _axis(quantity) for quantity in used},
        "legend": [{"name": name, "colour": c, "shape": s} for name, (c, s) in symbols],
        "places": [
            {
                "title": place.title,
                "run": place.run,
                "task": place.group.task,
                "learningRate": f"{place.group.learning_rate:g}",
                "precision": place.group.precision,
            }
            for place in of_runs.places
        ],
    }


def _axis(quantity: Quantity) -> dict[str, Any] | None:
    """Return what the page needs to find the ends of an axis of powers of ten, see axes.js."""
    if (log := figures.axis(quantity)) is None:
        return None
    columns = [log.column, *log.also]
    names = figures.ends_of(figures.ON_PAGE)
    return {"columns": columns, "log": True, "ticks": log.ticks, "empty": log.empty, "names": names}


def _claim(found: TrainingVerdict) -> dict[str, str]:
    looks = {TrainingClaimVerdict.HOLDS: "ok", TrainingClaimVerdict.FAILS: "inaccurate"}
    return {
        "verdict": str(found.verdict),
        "look": looks.get(found.verdict, "absent"),
        "claim": found.claim,
        "source": found.source,
        "found": found.found,
    }


def _counts(of_runs: Shown) -> str:
    """Return how much the section is on, and the machines of the trainings."""
    trainings = [run.trainings for run in of_runs.runs.values()]
    methods = {name for frame in trainings for name in frame["method"].unique()}
    seeds = {seed for frame in trainings for seed in frame["seed"].unique()}
    tasks = {task for frame in trainings for task in frame["task"].unique()}
    numbers = (
        (sum(map(len, trainings)), "training"),
        (len(methods), "method"),
        (len(seeds), "seed"),
        (len(tasks), "task"),
        (len(of_runs.runs), "run"),
    )
    machines = [name for run in of_runs.runs.values() for name in _machines(run)]
    trained = "; and ".join(dict.fromkeys(machines))
    return f"{', '.join(units.count(n, noun) for n, noun in numbers)}. Trained on {trained}."


def _machines(run: TrainingRun) -> list[str]:
    known = run.facts["environments"]
    hashes = [e for e in run.ended["environment"].unique() if e]
    return [machine(known.get(e), e) for e in hashes] or ["no machine: no training has ended"]


def _environment(name: str, run: TrainingRun) -> dict[str, Any]:
    """Return the facts of a run that a reader looks for first, and all of them as JSON."""
    hashes = [e for e in run.ended["environment"].unique() if e]
    machines = [run.facts["environments"].get(e) or {} for e in hashes]
    versions = (str(m.get("versions", {}).get("mssbench", "")) for m in machines)
    facts = {
        "suite": str(run.suite.get("name", "")),
        "machine": "; ".join(_machines(run)),
        "mssbench": ", ".join(dict.fromkeys(versions)),
        "commit": ", ".join(dict.fromkeys(str(m.get("commit") or "unknown") for m in machines)),
        "report made by": f"mssbench {__version__}",
    }
    return {
        "name": name,
        "facts": [(key, fact) for key, fact in facts.items() if fact],
        "json": json.dumps(run.facts, indent=1, ensure_ascii=False),
    }
