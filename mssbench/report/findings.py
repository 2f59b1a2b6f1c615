"""What the report says in sentences first, each with the filters that show its evidence."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mssbench.analysis import advice, conclusions
from mssbench.analysis.claims import ClaimResult, ClaimVerdict
from mssbench.analysis.trust import trust
from mssbench.records import units
from mssbench.records.facts import difference
from mssbench.records.measurement import UNTRIED, Status
from mssbench.records.noise import OTHER_PRECISION, UNVERIFIED
from mssbench.report.cautions import mixed_environments
from mssbench.report.drawn import Measured
from mssbench.results import parts
from mssbench.results.labels import spoken

if TYPE_CHECKING:
    import pandas as pd

    from mssbench.results.run import Run

_NAMED = 3  # methods that a sentence names before it counts the others
_FIRST = 6  # findings of a run that are shown at first: they fit on one screen with the filters
# Columns of which each combination of values has sentences of its own.
_PLACE = ("function", "precision", "device", "phase", "clock", "cache")
# Columns that identify the matrices of a cell.
_INPUT = ("problem", "seed", "size", "batch")
# A problem gets a sentence of its own if fewer than this share of the methods is right on it.
_HARD_FOR_MOST = 0.5


class Finding(NamedTuple):
    """A sentence, the filters that show its evidence, and the part of the page that has it.

    filters: values by key column; an empty text stands for all values. show: the id of a section
    of the page. search: the words that are searched in the table.
    """

    text: str
    filters: Mapping[str, Any]
    show: str
    search: str = ""


class Group(NamedTuple):
    """The findings on one run. The page shows `first`, and `rest` on demand."""

    run: str
    first: tuple[Finding, ...]
    rest: tuple[Finding, ...]


def warnings(runs: Sequence["Run"], names: Sequence[str]) -> Iterator[str]:
    """Yield sentences on runs whose times cannot be compared, or that lack some of their rows."""
    yield from _environments(runs, names)
    for run, name in zip(runs, names, strict=True):
        before = f"{name}: " if len(runs) > 1 else ""
        reliability = trust(run.current, run.facts)
        if not reliability.comparable and not reliability.mixed:  # see `_environments`
            yield before + advice.warning(reliability, "--fresh").strip()
        for sentence in conclusions.steadiness(run.current, run.facts):
            yield before + sentence
        if part := parts.sentence(run.facts, name):
            yield part
        if left := len(run.frame) - len(run.current):
            yield (
                f"{before}{units.count(left, 'row')} of cells that the suite no longer has are "
                "left out of this report."
            )


def _environments(runs: Sequence["Run"], names: Sequence[str]) -> Iterator[str]:
    """Yield a sentence on rows of several machines, or of several versions of libraries."""
    measured = [
        Measured(name, run.current, run.facts) for run, name in zip(runs, names, strict=True)
    ]
    if found := mixed_environments(measured):
        described = [
            f"{', '.join(environment.runs)} on {environment.text}" for environment in found
        ]
        first, second, *_ = (environment.facts for environment in found)
        yield (
            "These rows were measured in several environments, so that their times cannot be "
            f"compared: {'; '.join(described)}. The first two differ: {difference(first, second)}."
        )


def findings(
    table: "pd.DataFrame", runs: Mapping[str, "Run"], claims: Sequence[ClaimResult], claimed: str
) -> Iterator[Group]:
    """Yield the findings on each run: which methods are right, which is fastest, what fails.

    Findings on steps, which have a root and its gradient, come before those on forwards.

    table: the rows of all runs, see drawn.py. runs: by name. claims: those of the run `claimed`.
    """
    for name, run in runs.items():
        rows = table[table["run"] == name]
        of_run = {"run": name} if len(runs) > 1 else {}
        if rows.empty:
            yield Group(name, (), ())
            continue

        found = [
            *_right(rows),
            *_fastest(run, dict(zip(rows["label"], rows["method"], strict=True))),
        ]
        found.sort(key=lambda finding: finding.filters.get("phase") != "step")
        found += _failed(rows)
        if claims and name == claimed:
            found.insert(0, _claimed(claims))
        found = [f._replace(filters={**f.filters, **of_run}) for f in found]
        yield Group(name, tuple(found[:_FIRST]), tuple(found[_FIRST:]))


def _claimed(claims: Sequence[ClaimResult]) -> Finding:
    """Return how many claims of papers hold."""
    counts = Counter(c.verdict for c in claims)
    known = [(counts[verdict], words) for verdict, words in _SPOKEN.items() if counts[verdict]]
    words = ", ".join(f"{n} {several if n > 1 else one}" for n, (one, several) in known)
    return Finding(f"Of {units.count(len(claims), 'claim')} of papers: {words}.", {}, "claims")


# What a verdict says of one claim, and of several.
_SPOKEN = {
    ClaimVerdict.HOLDS: ("holds", "hold"),
    ClaimVerdict.FAILS: ("does not hold here", "do not hold here"),
    ClaimVerdict.UNMEASURED: ("was not measured", "were not measured"),
}


def _right(rows: "pd.DataFrame") -> Iterator[Finding]:
    """Yield which methods are right on all matrices, for forwards and for steps."""
    # A library that computed in another precision may have any status, and none says whether it
    # is right in the precision of the row.
    own = (rows["ended"] != OTHER_PRECISION) & (rows["computed_in"] == "")
    tried = rows[~rows["ended"].isin(UNTRIED) & own & (rows["phase"] != "backward")]
    # Where the reference is not accurate enough, no method can be called right or wrong.
    unknown = (tried["ended"] == UNVERIFIED).groupby([tried[n] for n in (*_PLACE, *_INPUT)])
    tried = tried[~unknown.transform("any")]
    varying = [name for name in _PLACE if len(tried[name].unique()) > 1]
    for key, part in tried.groupby(list(_PLACE), sort=False, dropna=False):
        at: dict[str, Any] = dict(zip(_PLACE, key, strict=True))
        where = ", ".join(spoken(n, at[n]) for n in _PLACE if n in varying or n == "phase")
        cells = part.drop_duplicates([*_INPUT, "label"])
        inputs = len(part.drop_duplicates(list(_INPUT)))
        by_method = cells.groupby("method", sort=False)["usable"].agg(["sum", "size"])
        if len(by_method) < 2:
            continue

        right = by_method[(by_method["sum"] == by_method["size"]) & (by_method["size"] == inputs)]
        methods = units.count(len(by_method), "method")
        measured = (
            "the only batch of matrices" if inputs == 1 else f"all {inputs} batches of matrices"
        )
        if len(right) == len(by_method):
            every = "both" if len(right) == 2 else f"all {len(right)}"
            text = f"{every} methods are ok on {measured}: {_few(right.index)}."
        elif len(right) == 1:
            text = f"of {methods}, only {right.index[0]} is ok on {measured}."
        elif len(right):
            text = f"of {methods}, {len(right)} are ok on {measured}: {_few(right.index)}."
        else:
            text = f"none of {methods} is ok on {measured}.{_closest(by_method)}"
        yield Finding(f"{where}: {text}", {**at, "batch": "", "size": ""}, "failures")
        yield from _hard(part, at, where)


def _closest(by_method: "pd.DataFrame") -> str:
    """Return a sentence on the method that is right on the most batches; empty if all are 0."""
    best = by_method.sort_values("sum", ascending=False, kind="stable").iloc[0]
    if best["sum"] == 0:
        return ""
    return f" Closest is {best.name}, which is ok on {int(best['sum'])}."


def _hard(rows: "pd.DataFrame", at: Mapping[str, Any], where: str) -> Iterator[Finding]:
    """Yield the problem on which the fewest methods are right, if these are less than half.

    A method is right on a problem if it is ok at every size and batch of it.
    """
    by_method = rows.groupby(["hardness", "matrices", "problem", "label"])["usable"].all()
    shares = by_method.groupby(["hardness", "matrices", "problem"]).agg(["sum", "size"])
    worst = (shares["sum"] / shares["size"]).idxmin()
    right, methods = (int(x) for x in shares.loc[worst])
    if methods > 1 and right < _HARD_FOR_MOST * methods:
        _, matrices, problem = worst
        count = "none" if right == 0 else f"only {right}"
        yield Finding(
            f"{where}: on {matrices}, {count} of {units.count(methods, 'method')} "
            f"{'is' if right < 2 else 'are'} ok at every size and batch.",
            {**at, "problem": problem, "batch": "", "size": ""},
            "failures",
        )


def _fastest(run: "Run", short: Mapping[str, str]) -> Iterator[Finding]:
    """Yield the fastest method of each place of a run, or why none is called fastest.

    short: the short names of the methods, as in all other parts of the page, by full name.
    """
    # A name may be the beginning of another one, which is tried before it.
    full = re.compile("|".join(map(re.escape, sorted(short, key=len, reverse=True))))
    found, _ = conclusions.concluded(run.current, run.facts)
    for conclusion in found:
        text = full.sub(lambda match: short[match[0]], conclusion.text)
        yield Finding(f"{conclusion.where}: {text}", conclusion.at, "front")


def _failed(rows: "pd.DataFrame") -> Iterator[Finding]:
    """Yield how many cells crashed, exceeded a limit or were not reached."""
    for failure in conclusions.failures(rows.assign(method=rows["label"])):
        if failure.status not in _BROKEN:
            continue
        why = f", most often: {failure.reasons[0][0]}" if failure.reasons else ""
        text = (
            f"{units.count(failure.cells, 'cell')} of {units.count(failure.methods, 'method')} "
            f"ended as {failure.status}{why}"
        )
        # The cells may be of any place, so that no filter may leave them out.
        everywhere = dict.fromkeys((*_PLACE, *_INPUT), "")
        yield Finding(f"{text.rstrip('.')}.", everywhere, "table", failure.status)


# Statuses of cells that have no result although they could have had one.
_BROKEN = (
    Status.CRASHED,
    Status.OOM,
    Status.TIMEOUT,
    Status.INTERRUPTED,
    Status.IMPLAUSIBLE,
)


def _few(names: Any) -> str:
    """Return the first names, and how many more there are."""
    named = [str(name) for name in names]
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return f"{', '.join(named[:_NAMED])}{more}"
