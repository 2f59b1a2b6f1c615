"""The HTML report: one self-contained page, made from the tables of one or more runs.

Python decides what the page says and which columns it holds; the scripts in the folder `page` only
filter and draw. The page asks the network for nothing, and its content-security policy allows no
script but its own three.
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mssbench import __version__
from mssbench.analysis.claim_texts import lines
from mssbench.analysis.claims import ClaimResult, ClaimVerdict, judge_claims
from mssbench.analysis.trust import trust
from mssbench.records import units
from mssbench.records.facts import machine
from mssbench.records.schema import BY_NAME
from mssbench.report import history
from mssbench.report.comparisons import comparisons
from mssbench.report.drawn import drawn, unique_names
from mssbench.report.figures import HISTORY, PANELS
from mssbench.report.figures.axes import ERROR, Axis, error_title
from mssbench.report.figures.figure import DRAWN, PADDING, USUAL, Figure, compiled
from mssbench.report.figures.maps import ABOUT_FAILURES, ABOUT_WINNERS, COLOURS, LOOKS
from mssbench.report.figures.style import LEGENDS, Look, Style, style_of
from mssbench.report.findings import Finding, findings, warnings
from mssbench.report.html import asset, library, render, script
from mssbench.report.packing import as_utf8, packed, script_json
from mssbench.report.trainings.section import section
from mssbench.report.words import TIMES_LIMIT, WORDS

if TYPE_CHECKING:
    import pandas as pd

    from mssbench.report.trainings.reading import TrainingRun
    from mssbench.results.run import Run

# The scripts of the page, in the order in which they need each other.
_SCRIPTS = (
    "dom.js",
    "texts.js",
    "data.js",
    "axes.js",
    "filters.js",
    "maps.js",
    "views.js",
    "figures.js",
    "table.js",
    "compared.js",
    "trainings.js",
    "main.js",
)
_OF_TRAININGS = ("dom.js", "axes.js", "views.js", "trainings.js", "trainings_main.js")
# Key columns that the page filters by, with the words on the page.
_FILTERS = {
    "run": "run",
    "phase": "phase",
    "function": "function",
    "precision": "precision",
    "device": "device",
    "clock": "clock",
    "cache": "cache",
    "size": "n",
    "batch": "batch",
    "problem": "matrices",
    "kind": "kind of matrix",
}
_NUMBERS = (
    "size",
    "batch",
    "iterations",
    "backward_iterations",
    "seed",
    "seconds_median",
    "seconds_low",
    "seconds_high",
    "error",
    "root_error",
    "gradient_error",
    "residual",
    "reference_error",
    "condition",
    "gemms",
    "products",
    "launches",
    "limit_seconds",
    "times_limit",
    "peak_bytes",
    "saved_bytes",
    "samples",
    "hardness",
)
_WORDS = (
    "run",
    "label",
    "method",
    "family",
    "series",
    "library",
    "function",
    "problem",
    "precision",
    "device",
    "phase",
    "clock",
    "cache",
    "status",
    "ended",
    "noise",
    "flags",
    "reason",
    "bound",
    "kind",
    "standing",
    "fastest",
    "computed_in",
    "started",
    "moment",
)
# The columns of the page's table with their headings, and how their values are written, see
# page/texts.js. The meaning of each stands in the schema.
_TABLE = {
    "label": ("method", "plain"),
    "problem": ("matrices", "plain"),
    "size": ("n", "whole"),
    "batch": ("batch", "whole"),
    "function": ("function", "plain"),
    "precision": ("precision", "plain"),
    "device": ("device", "plain"),
    "phase": ("phase", "plain"),
    "clock": ("clock", "plain"),
    "ended": ("status", "plain"),
    "seconds_median": ("time per call", "seconds"),
    "seconds_low": ("from", "seconds"),
    "seconds_high": ("to", "seconds"),
    "noise": ("noise", "plain"),
    "root_error": ("root error", "error"),
    "gradient_error": ("gradient error", "error"),
    "condition": ("condition κ", "number"),
    "times_limit": ("time ÷ limit", "ratio"),
    "gemms": ("time in products", "number"),
    "peak_bytes": ("extra memory", "size"),
    "standing": ("on the front", "plain"),
    "run": ("run", "plain"),
    "reason": ("reason", "plain"),
}
_MEANINGS = {
    "label": "full name of the method: library/forward + backward, with parameters",
    "ended": "how the measurement ended; only ok may win a comparison",
    "times_limit": TIMES_LIMIT,
    "standing": "whether no other method is as accurate and faster: front, undecided or beaten",
    "run": "folder of the run",
}
_PAGE_LOOK = Look(
    ink="currentColor",
    faint="var(--faint)",
    ground="var(--ground)",
    font="system-ui, sans-serif",
)


def page(runs: Sequence["Run"], title: str = "", trained: Sequence["TrainingRun"] = ()) -> str:
    """Return the report on some runs as the text of an HTML file.

    The first run is the one that others are compared with. title: the heading; by default the names
    of the runs. trained: runs of trainings, which have a section of their own, or the whole page if
    there is no other run. Raises TableError if a run has no table or no run has a row, RunError for
    a damaged file of facts or a run that is named twice, and SuiteError for a claim of a suite that
    is malformed.
    """
    names = unique_names([*runs, *trained])
    title = title or f"mssbench: {', '.join(names)}"
    of_trainings, for_scripts = None, None
    if trained:
        of_trainings, for_scripts = section(
            dict(zip(names[len(runs) :], trained, strict=True)), _PAGE_LOOK
        )
    if not runs:
        text = render(
            "trainings_page.html",
            {"library": library(), "code": script(*_OF_TRAININGS)},
            title=title,
            style=_page_style(),
            trained=of_trainings,
            data=script_json({"trainings": for_scripts}),
        )
        return as_utf8(text)

    names = names[: len(runs)]
    by_name = dict(zip(names, runs, strict=True))
    table = drawn(runs)
    claims_run, claims = _claims(by_name)
    data = _data(table, by_name)

    text = render(
        "page.html",
        {"library": library(), "code": script(*_SCRIPTS)},
        title=title,
        style=_page_style(),
        summary=_summary(table, by_name),
        warnings=list(warnings(runs, names)),
        groups=[
            {
                "run": group.run,
                "first": [_finding(finding) for finding in group.first],
                "rest": [_finding(finding) for finding in group.rest],
            }
            for group in findings(table, by_name, claims, claims_run)
        ],
        claims=[_claim(finding) for finding in claims],
        claims_run=claims_run,
        steps_rule=history.RULE,
        words=WORDS,
        environment=[_environment(name, run) for name, run in by_name.items()],
        trained=of_trainings,
        contents=_contents(data),
        data=script_json(data | {"trainings": for_scripts}),
    )
    return as_utf8(text)


def _page_style() -> str:
    """Return the style of a page, with the colours of cells of each look, on both grounds."""
    rules = [
        f".{look} {{ background: light-dark({light}, {dark}) }}"
        for look, (light, dark) in COLOURS.items()
    ]
    return "\n".join([*rules, asset("page.css")])


def _contents(data: Mapping[str, Any]) -> dict[str, str]:
    """Return the titles of the parts of the page, by the ids of their elements."""
    return {
        "findings": "Findings",
        "failures": "Where methods fail",
        "winners": "Which method is fastest",
        **{figure["name"]: figure["title"] for figure in data["figures"]},
        "claims": "Claims of papers",
        "table": "All rows",
        "environment": "Environment",
        "trainings": "Trainings",
    }


def _data(table: "pd.DataFrame", runs: Mapping[str, "Run"]) -> dict[str, Any]:
    """Return what the scripts of the page read. table: the rows of all runs. runs: by name."""
    style = style_of(table, _PAGE_LOOK, legend=False)
    several = len(runs) >= history.LEAST_RUNS
    figures = [*PANELS, HISTORY] if several else list(PANELS)
    return {
        "length": len(table),
        "columns": packed(table, _NUMBERS, _WORDS),
        "drawn": DRAWN,
        "filters": [{"column": name, "title": title} for name, title in _FILTERS.items()],
        "usual": USUAL,
        "error_titles": {phase: error_title([phase]) for phase in table["phase"].unique()},
        "matrices": dict(zip(table["problem"], table["matrices"], strict=True)),
        "statuses": [[str(status), look] for status, look in LOOKS.items()],
        "figures": [_figure(figure, style) for figure in figures],
        "legends": {name: _legend(style, name) for name in style.names},
        "about_failures": ABOUT_FAILURES,
        "about_winners": ABOUT_WINNERS,
        "not_compared": _not_compared(runs),
        "comparisons": [c._asdict() for c in comparisons(table, runs)],
        "steps": [_step(step) for step in history.steps(table)] if several else None,
        "table": [_column(name, *words) for name, words in _TABLE.items()],
        "csv": [*_WORDS, *_NUMBERS],
    }


def _not_compared(runs: Mapping[str, "Run"]) -> dict[str, str]:
    """Return a sentence for each run whose times are not compared, so that no method is fastest."""
    found = {}
    for name, run in runs.items():
        reliability = trust(run.current, run.facts)
        if reliability.comparable:
            continue
        why = f"the machine {reliability.why_not}"
        if reliability.mixed:  # the warning above the findings names them
            why = "its rows were measured in several environments"
        found[name] = f"{name}: {why}. No method is called fastest, as times are not compared."
    return found


def _figure(figure: Figure, style: Style) -> dict[str, Any]:
    """Return a figure for the page, with its chart as a Vega specification without data."""
    return {
        "name": figure.name,
        "title": figure.title,
        "about": figure.about,
        "panel": figure.panel,
        "needs": figure.needs,
        "varies": figure.varies,
        "within": figure.within,
        "x": _axis(figure.x),
        "y": _axis(figure.y),
        "legend_column": figure.legend or style.by,
        "legend_title": LEGENDS[figure.legend or style.by],
        "names_error": figure.y is ERROR,
        "spec": _aligned(figure, _titled(figure, compiled(figure.chart(style), style))),
    }


def _titled(figure: Figure, spec: dict[str, Any]) -> dict[str, Any]:
    """Return a Vega specification in which the title of an axis of errors is a signal.

    The page sets it for each panel, since the error is that of the root or that of the gradient.
    """
    if figure.y is not ERROR:
        return spec
    axes = [
        axis | ({"title": {"signal": _ERROR_TITLE}} if axis.get("title") == ERROR.title else {})
        for axis in spec["axes"]
    ]
    signals = [*spec["signals"], {"name": _ERROR_TITLE, "value": ERROR.title}]
    return spec | {"axes": axes, "signals": signals}


_ERROR_TITLE = "error_title"  # name of a signal, which figures.js sets


def _aligned(figure: Figure, spec: dict[str, Any]) -> dict[str, Any]:
    """Return a Vega specification with fixed space around its frame.

    The frames of all panels are then aligned, whatever stands beside them. Labels of names, which
    may be long, keep the space that they need.
    """
    if figure.x is None or figure.y is None:
        return spec
    return spec | {"autosize": "none", "padding": PADDING}


def _axis(axis: Axis | None) -> dict[str, Any] | None:
    """Return what the page needs to find the ends and ticks of an axis."""
    if axis is None:
        return None
    columns = [axis.column, *axis.also]
    return {"columns": columns, "log": axis.log, "ticks": axis.ticks, "empty": axis.empty}


def _legend(style: Style, column: str) -> list[dict[str, str]]:
    """Return the entries of a legend: each value of a column, with its colour and shape."""
    symbols = zip(style.names[column], style.symbols(column), strict=True)
    return [{"name": name, "colour": c, "shape": shape} for name, (c, shape) in symbols]


def _step(step: history.Step) -> dict[str, Any]:
    known = step.ratio_in_products == step.ratio_in_products  # NaN is unequal to itself
    return step._asdict() | {"ratio_in_products": step.ratio_in_products if known else None}


def _column(name: str, title: str, writer: str) -> dict[str, str]:
    """Return a column of the page's table, with its meaning from the schema."""
    meaning = _MEANINGS[name] if name in _MEANINGS else BY_NAME[name].meaning
    return {"name": name, "title": title, "writer": writer, "meaning": meaning}


def _finding(finding: Finding) -> dict[str, str]:
    filters = json.dumps(_filters(finding.filters))
    return {
        "text": finding.text,
        "filters": filters,
        "search": finding.search,
        "show": finding.show,
    }


def _filters(at: Mapping[str, Any]) -> dict[str, str]:
    """Return the values of a finding for the filters of the page, which hold texts."""
    known = {name: x for name, x in at.items() if name in _FILTERS}
    return {name: str(int(x) if isinstance(x, float) else x) for name, x in known.items()}


def _claims(runs: Mapping[str, "Run"]) -> tuple[str, list[ClaimResult]]:
    """Return the name of the last run whose suite has claims, with the verdicts on them."""
    for name, run in reversed(list(runs.items())):
        if tables := run.suite.get("claim", []):
            return name, judge_claims(tables, run.current)
    return "", []


def _claim(finding: ClaimResult) -> dict[str, Any]:
    look = {ClaimVerdict.HOLDS: "ok", ClaimVerdict.FAILS: "inaccurate"}
    return {
        "verdict": str(finding.verdict),
        "look": look.get(finding.verdict, "absent"),
        "claim": finding.claim.claim,
        "source": finding.claim.source,
        "lines": list(lines(finding)),
    }


def _summary(table: "pd.DataFrame", runs: Mapping[str, "Run"]) -> str:
    """Return what the report is on: the numbers of rows and methods, and the machines."""
    counts = ", ".join(
        units.count(number, noun)
        for number, noun in (
            (len(table), "row"),
            (table["label"].nunique(), "method"),
            (table["problem"].nunique(), "problem"),
            (len(runs), "run"),
        )
    )
    described = [_machines(run) for run in runs.values()]
    machines = "; and ".join(dict.fromkeys(name for names in described for name in names))
    return f"{counts}. Measured on {machines}."


def _machines(run: "Run") -> list[str]:
    """Return a description of each machine on which the rows of a run were measured."""
    known = run.facts["environments"]
    hashes = [e for e in run.current["environment"].unique() if e]
    return [machine(known.get(e), e) for e in hashes] or ["no machine: no row has a result"]


def _environment(name: str, run: "Run") -> dict[str, Any]:
    """Return the facts of a run that a reader looks for first, and all of them as JSON."""
    ids = [run_id for run_id in run.current["run_id"].unique() if run_id]
    of_runs = [run.facts.get("runs", {}).get(run_id, {}) for run_id in ids]
    hashes = [e for e in run.current["environment"].unique() if e]
    machines = [run.facts["environments"].get(e) or {} for e in hashes]

    facts = {
        "suite": ", ".join(dict.fromkeys(str(r["suite"]) for r in of_runs if "suite" in r)),
        "machine": "; ".join(_machines(run)),
        "started": ", ".join(str(r["started"]) for r in of_runs if "started" in r),
        "took": ", ".join(units.duration(r["seconds"]) for r in of_runs if "seconds" in r),
        "mssbench": ", ".join(
            dict.fromkeys(str(m.get("versions", {}).get("mssbench", "")) for m in machines)
        ),
        "commit": ", ".join(dict.fromkeys(str(m.get("commit") or "unknown") for m in machines)),
        "drift of the machine's speed": ", ".join(
            f"{100 * r['drift']:.0f} %" for r in of_runs if r.get("drift") is not None
        ),
        "report made by": f"mssbench {__version__}",
    }
    return {
        "name": name,
        "facts": [(k, v) for k, v in facts.items() if v],
        "json": json.dumps(run.facts, indent=1, ensure_ascii=False),
    }
