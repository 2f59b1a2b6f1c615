"""Sentences on the rows of a run: the fastest method and its error, failures, and the machine.

A block is one table of `mssbench show`, and an entry is one number in it.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mssbench.analysis import kinds
from mssbench.analysis.blocks import SPLIT, Block, blocks
from mssbench.analysis.entry import Entry
from mssbench.analysis.trust import flags, mixture, trust
from mssbench.records import units
from mssbench.records.facts import machine
from mssbench.records.measurement import MEASURED, UNTRIED, Status
from mssbench.records.noise import DRIFTED, MEANING, OTHER_PRECISION, SHOWN_DELTA, UNVERIFIED, Noise
from mssbench.results import parts
from mssbench.results.labels import spoken, with_labels

if TYPE_CHECKING:
    import pandas as pd

_NAMED = 3  # spoilt blocks that the remedy names; the rest are counted
# The columns that the sentences on one block need, on the machine and on the kinds of matrices.
_LOOKED_AT = (
    *SPLIT,
    "size",
    "problem",
    "condition",
    "reference_error",
    "schema",
    "seconds_median",
    "run_id",
    "environment",
    "flags",
)
# Round error limits; a conclusion uses the strictest one that at least half of the methods meet.
_LIMITS = (1e-14, 1e-12, 1e-10, 1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)


class Failure(NamedTuple):
    """A status other than ok, with the number of its cells and methods, and the reasons."""

    status: str
    cells: int
    methods: int
    reasons: tuple[tuple[str, int], ...]  # reason, cells; most frequent first


class Conclusion(NamedTuple):
    """What the rows of one block say about its fastest method.

    where: the place as words, such as `step, float32, n = 64`. text: a sentence or two.
    at: the values of the key columns that all these rows share, and their largest size.
    """

    where: str
    text: str
    at: Mapping[str, Any]


def conclusions(
    frame: "pd.DataFrame",
    facts: Mapping[str, Any] | None = None,
    usual: Sequence[Block] | None = None,
) -> list[str]:
    """Return the conclusions on the rows of a run as sentences, see `concluded`.

    A last sentence says what to do if times were disturbed.
    """
    found, remedy = concluded(frame, facts, usual)
    return [*(f"{c.where}: {c.text}" for c in found), *([remedy] if remedy else [])]


def concluded(
    frame: "pd.DataFrame",
    facts: Mapping[str, Any] | None = None,
    usual: Sequence[Block] | None = None,
) -> tuple[list[Conclusion], str]:
    """Return a conclusion for each block, on its largest size. Blocks of backwards have none.

    The second value is a sentence on what to do about disturbed times, or empty.

    A block is one table of `mssbench show`. facts: the content of environment.json, with the drift
    of the machine. usual: the result of `blocks(frame)`, if the caller has computed it already, as
    that is slow for a large table.
    """
    if mixture(frame, facts or {}):
        return [], ""  # times of several environments cannot be compared; `machines` says so

    usual = blocks(frame) if usual is None else usual
    with_times = [b for b in usual if b.measured and b.common["phase"] != "backward"]
    varying = [n for n in SPLIT if len({b.common[n] for b in with_times}) > 1]

    # Copying the other columns of a large table would be slow.
    timed = frame.loc[frame["seconds_median"].notna(), list(_LOOKED_AT)]
    by_block = timed.groupby(list(SPLIT), sort=False)
    found, spoilt = [], []
    for block in with_times:
        rows = by_block.get_group(tuple(block.common[n] for n in SPLIT))
        why = _spoilt(rows, facts or {})
        where = _where(block, varying)
        if why:
            spoilt.append(where)
        matrices = _matrices(block, rows)
        text = f"{_conclusion(block, why, matrices)}{_unranked(block)}"
        at = {**block.common, "size": _last_tried(block)[0]}
        found.append(Conclusion(where, text, at))
    return found, _remedy(spoilt, len(with_times)) if spoilt else ""


def _remedy(spoilt: Sequence[str], blocks: int) -> str:
    """Return the sentence on blocks (tables) whose methods are not ranked, and what to do about it.

    spoilt: the names of these blocks. blocks: the number of all blocks.
    """
    rest = len(spoilt) - _NAMED
    more = [f"in {units.count(rest, 'more table')}"] if rest > 0 else []
    named = "; ".join([*spoilt[:_NAMED], *more])
    where, there = ("", "") if len(spoilt) == blocks else (f" for {named}", " there")
    return (
        f"No method is called fastest{where}, as the times{there} were disturbed: stop the other "
        "processes that `top` shows, and measure again with --fresh."
    )


def _spoilt(timed: "pd.DataFrame", facts: Mapping[str, Any]) -> str:
    """Return why the times of these rows cannot be ranked; empty if they can.

    timed: the rows of one table of `mssbench show` (a block) that have a time. facts: the content
    of environment.json, which includes the load and the drift of the machine during the run.
    """
    reliability = trust(timed, facts)
    return "" if reliability.comparable else f"the machine {reliability.why_not}"


def _drift(timed: "pd.DataFrame", facts: Mapping[str, Any]) -> float:
    """Return the largest drift of the runs that measured these rows; 0 if none is known.

    Drift is the relative change of the machine's own speed during a run.
    """
    runs = [facts.get("runs", {}).get(run_id, {}) for run_id in timed["run_id"].unique()]
    return max((run["drift"] for run in runs if run.get("drift") is not None), default=0.0)


def _last_tried(block: Block) -> tuple[Any, ...]:
    """Return the block's column of the largest size at which a method was measured or failed."""
    entries = block.entries.values()
    return [c for c in block.columns if any(c in row and row[c].tried for row in entries)][-1]


def _where(block: Block, varying: Sequence[str]) -> str:
    """Return the phase, the values that distinguish this block, and n: `step, float32, n = 64`."""
    names = ("phase", *(n for n in varying if n != "phase"))
    named = [spoken(n, block.common[n]) for n in names]
    return ", ".join([*named, spoken("size", _last_tried(block)[0])])


def _matrices(block: Block, rows: "pd.DataFrame") -> str:
    """Return the kinds of matrix that a block was measured on: `easy κ 42 and hard κ 1e6 matrices`.

    rows: the timed rows of the block.
    """
    (size,) = _last_tried(block)
    unranked = {x.problem for x in block.left_out}
    ranked = rows[(rows["size"] == size) & ~rows["problem"].isin(unranked)]
    return kinds.named(kinds.kinds(ranked).values()) if len(ranked) else ""


def _conclusion(block: Block, spoilt: str, matrices: str) -> str:
    """Return the sentence on the fastest method of a block.

    Only methods within an error limit that at least half of the methods meet are compared.
    spoilt: why times cannot be ranked, or empty. matrices: the kinds of matrix, as text.
    """
    column = _last_tried(block)
    entries = {str(row[0]): e[column] for row, e in block.entries.items() if column in e}
    valid = {k: e for k, e in entries.items() if e.ok and e.value is not None}
    if not valid:
        return _none(block, entries)
    if len(entries) == 1:
        ((name, only),) = valid.items()
        return f"{name} takes {_cost(block, only, matrices)}; no other method was measured."
    if len(valid) == 1:
        ((name, only),) = valid.items()
        return f"only {name} is ok{_everywhere(block)}: {_cost(block, only, matrices)}."

    if spoilt:
        return f"{units.count(len(valid), 'method')} are ok, and not ranked: {spoilt}."
    known = {k: e for k, e in valid.items() if e.error is not None}
    if not known:
        name, best = min(valid.items(), key=_by_time)
        return f"fastest is {_with_ties(name, best, valid)}, {_cost(block, best, matrices)}."

    limit = _limit([e.error or 0.0 for e in known.values()])
    within = {k: e for k, e in known.items() if limit is None or (e.error or 0.0) <= limit}
    name, best = min(within.items(), key=_by_time)
    kind = (
        f" with a {_kind(block)} error of at most {units.error(limit)}" if limit is not None else ""
    )
    text = f"fastest{kind} is {_with_ties(name, best, within)}, {_cost(block, best, matrices)}."
    return f"{text}{_other_ends(name, best, valid)}"


def _none(block: Block, entries: Mapping[str, Entry]) -> str:
    """Return the sentence of a block in which no method is ok."""
    ended = {status for e in entries.values() for status, _ in e.statuses} - UNTRIED
    # The reference is that of all methods, but a library computes in another precision for itself.
    for why, holds in (
        (UNVERIFIED, UNVERIFIED in ended),
        (OTHER_PRECISION, ended == {OTHER_PRECISION}),
    ):
        if holds:
            return f"no method is ranked: {MEANING[why].partition(':')[0]}."
    return f"no method is ok{_everywhere(block)}."


def _unranked(block: Block) -> str:
    """Return a sentence on the problems whose reference is not accurate enough, or nothing."""
    last = [x for x in block.left_out if x.column == _last_tried(block) and x.ended == UNVERIFIED]
    if not last:
        return ""
    problems = ", ".join(dict.fromkeys(x.name for x in last))
    return f" On {problems} no method is ranked: {MEANING[UNVERIFIED].partition(':')[0]}."


def _limit(errors: Sequence[float]) -> float | None:
    """Return the strictest of _LIMITS that half of the errors meet; None if there is none."""
    half = sorted(errors)[(len(errors) - 1) // 2]
    return next((x for x in _LIMITS if x >= half), None)


def _by_time(item: tuple[str, Entry]) -> tuple[float, float]:
    entry = item[1]
    return (entry.value or 0.0, entry.error or 0.0)


def _with_ties(name: str, best: Entry, others: dict[str, Entry]) -> str:
    """Return the name of the best method, with those that it is not known to be faster than.

    They are tied with it, or have clearly longer times whose intervals overlap with that of its
    time. name, best: the best method and its entry. others: the entries of all methods, by name.
    """
    open_ = [k for k, e in others.items() if k != name and best.is_not_told_apart(e)]
    ties = [k for k in open_ if best.ties(others[k])]
    untold = [f"{k} at {_times(others[k], best)}" for k in open_ if k not in ties]

    parts = [f"tied with {_few(ties)}"] if ties else []
    parts += [f"not told apart from {_few(untold)}, as intervals overlap"] if untold else []
    return f"{name} ({'; '.join(parts)})" if parts else name


def _few(names: Sequence[str]) -> str:
    """Return the first two names, and how many more there are."""
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return f"{', '.join(names[:2])}{more}"


def _cost(block: Block, entry: Entry, matrices: str) -> str:
    """Return a method's time and error: `5.85 ms (root error 2e-04, on easy κ 42 matrices)`.

    Of several problems it is the largest error, over all of them. entry: of the method. matrices:
    the kinds of matrix, as text.
    """
    if entry.error is None:
        return f"{block.text(entry.value)} ({_kind(block)} error unknown)"
    several = entry.problems > 1 and "problem" in block.hidden
    where = f", {'over' if several else 'on'} {matrices}" if matrices else ""
    error = f"{'largest ' if several else ''}{_kind(block)} error {units.error(entry.error)}"
    return f"{block.text(entry.value)} ({error}{where})"


def _other_ends(name: str, best: Entry, able: dict[str, Entry]) -> str:
    """Return sentences on a method more accurate than the best one, and on one that is faster.

    Errors are estimates, so a method counts as more accurate only with less than half the error.
    name, best: the best method and its entry. able: the entries of all methods that are ok.
    """
    known = {k: e for k, e in able.items() if e.error is not None and k != name}
    finer = {k: e for k, e in known.items() if 2 * (e.error or 0.0) < (best.error or 0.0)}
    faster = {
        k: e
        for k, e in able.items()
        if (e.value or 0.0) < (best.value or 0.0) and not best.is_not_told_apart(e)
    }

    text = ""
    if finer:
        k, e = min(finer.items(), key=lambda item: (item[1].error or 0.0, item[1].value or 0.0))
        text += f" More accurate: {k}, error {units.error(e.error)} at {_times(e, best)} the time."
    elif known:
        text += " Nothing here is clearly more accurate."
    if faster:
        k, e = min(faster.items(), key=_by_time)
        error = "unknown" if e.error is None else units.error(e.error)
        text += f" Faster: {k}, {_times(e, best)} the time at error {error}."
    return text


def _times(entry: Entry, best: Entry) -> str:
    return units.ratio(entry.value / best.value) if entry.value and best.value else "?"


def _kind(block: Block) -> str:
    return "root" if block.error == "root_error" else "gradient"


def _everywhere(block: Block) -> str:
    return " everywhere" if block.hidden else ""


def failures(frame: "pd.DataFrame") -> list[Failure]:
    """Return the statuses other than ok that rows have, with their reasons, most frequent first.

    Statuses of measured rows, such as `inaccurate`, get no reasons: the error is the reason.
    """
    frame = with_labels(frame[frame["status"] != Status.OK])

    failed = []
    for status, part in frame.groupby("status"):
        cells = part.drop_duplicates("cell_id")
        reasons: dict[str, int] = {}
        if status not in MEASURED:
            counted = cells.loc[cells["reason"] != "", "reason"].value_counts()
            reasons = dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))
        failed.append(
            Failure(str(status), len(cells), cells["method"].nunique(), tuple(reasons.items()))
        )
    return sorted(failed, key=lambda f: (-f.cells, f.status))


def steadiness(frame: "pd.DataFrame", facts: Mapping[str, Any]) -> list[str]:
    """Return sentences on disturbed times: unstable rows, other load, and a changing machine.

    facts: the content of environment.json, with the drift of the machine during the run.
    """
    sentences = []
    timed = frame[frame["seconds_median"].notna()]
    if unstable := int((timed["noise"] == Noise.UNSTABLE).sum()):
        sentences.append(
            f"~ unstable ({unstable} of {units.count(len(timed), 'row')}): its samples scatter so "
            f"much that no difference below {100 * SHOWN_DELTA[Noise.UNSTABLE]:.0f} % shows."
        )

    sentences += [
        f"{flag} ({n} of {units.count(len(timed), 'row')}): {MEANING.get(flag, 'not known here')}."
        for flag, n in sorted(flags(timed).items())
    ]
    if (drift := _drift(timed, facts)) > DRIFTED:
        sentences.append(
            f"drift {100 * drift:.0f} %: the peak speed of this machine changed by this much "
            "from the start of the run to its end. Compare these times with care."
        )
    return sentences


def machines(frame: "pd.DataFrame", facts: Mapping[str, Any]) -> list[str]:
    """Return a sentence on each machine that the rows were measured on, from the run's facts.

    Before them stands a sentence which says that the run is only a part of its suite, if it is.
    """
    part = list(filter(None, [parts.sentence(facts)]))
    known, hashes = facts["environments"], environments(frame)
    if len(hashes) == 1:
        return [*part, f"measured on {machine(known.get(hashes[0]), hashes[0])}"]
    if not mixture(frame, facts):  # a CPU and a GPU, whose workers see different machines
        return [*part, *(f"measured on {machine(known.get(e), e)}" for e in hashes)]
    return [*part, *several_machines(frame, facts)]


def environments(frame: "pd.DataFrame") -> list[str]:
    """Return the hashes of the environments that the rows were measured in."""
    return [e for e in frame["environment"].unique() if e]


def several_machines(frame: "pd.DataFrame", facts: Mapping[str, Any]) -> list[str]:
    """Return a warning, and a sentence on each machine, if the rows are of several machines."""
    known, hashes = facts["environments"], environments(frame)
    if len(hashes) < 2:
        return []
    warning = "These rows are of several environments: their times cannot be compared."
    return [warning, *(f"environment {e}: {machine(known.get(e), e)}" for e in hashes)]


def as_data(found: Sequence[Failure]) -> list[dict[str, Any]]:
    """Return failures for JSON."""
    return [
        {
            "status": f.status,
            "cells": f.cells,
            "methods": f.methods,
            "reasons": [{"reason": reason, "cells": n} for reason, n in f.reasons],
        }
        for f in found
    ]
