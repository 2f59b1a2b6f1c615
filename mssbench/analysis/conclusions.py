"""What a table comes to, in sentences: who is fastest at which error, and what failed."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mssbench import units
from mssbench.analysis import kinds
from mssbench.analysis.blocks import SPLIT, Block, blocks
from mssbench.analysis.entry import Entry
from mssbench.analysis.trust import flags, trust
from mssbench.records.facts import machine
from mssbench.records.measurement import MEASURED, Status
from mssbench.records.noise import DRIFTED, MEANING, OTHER_PRECISION, SHOWN_DELTA, UNVERIFIED, Noise
from mssbench.results.labels import spoken, with_labels

if TYPE_CHECKING:
    import pandas as pd

_REMEDY = (
    "No method is called fastest where the times mean so little: stop what `top` shows beside this "
    "run, and measure again with --fresh."
)
# The columns behind the sentences on one block: the machine, and the kinds of its matrices.
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
# Errors at which people draw a line; a conclusion takes the strictest that half the methods meet.
_LIMITS = (1e-14, 1e-12, 1e-10, 1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)


class Failure(NamedTuple):
    """A status other than ok: how many cells and methods ended so, and why."""

    status: str
    cells: int
    methods: int
    reasons: tuple[tuple[str, int], ...]  # reason, cells; most frequent first


def conclusions(
    frame: "pd.DataFrame",
    facts: Mapping[str, Any] | None = None,
    usual: Sequence[Block] | None = None,
) -> list[str]:
    """A sentence or two per measured forward and step block, at the largest size that was tried.

    facts: those of the run, which tell how much the machine changed meanwhile. usual: what
    `blocks(frame)` returns, where the caller has it already: of a large table it takes a while.
    """
    if len({e for e in frame["environment"].unique() if e}) > 1:
        return []  # their times do not compare; what was measured on says so
    usual = blocks(frame) if usual is None else usual
    found = [b for b in usual if b.measured and b.common["phase"] != "backward"]
    varying = [n for n in SPLIT if len({b.common[n] for b in found}) > 1]

    # Of a large table it takes long to copy columns that nothing here looks at.
    timed = frame.loc[frame["seconds_median"].notna(), list(_LOOKED_AT)]
    by_block = timed.groupby(list(SPLIT), sort=False)
    sentences, spoilt = [], False
    for block in found:
        rows = by_block.get_group(tuple(block.common[n] for n in SPLIT))
        why = _spoilt(rows, facts or {})
        spoilt |= bool(why)
        matrices = _matrices(block, rows)
        said = f"{_conclusion(block, why, matrices)}{_unranked(block)}"
        sentences.append(f"{_where(block, varying)}: {said}")
    return [*sentences, *([_REMEDY] if spoilt else [])]


def _spoilt(timed: "pd.DataFrame", facts: Mapping[str, Any]) -> str:
    """Why the times of a block's rows rank nothing; empty where they do."""
    believed = trust(timed, facts)
    return "" if believed.comparable else f"the machine {believed.why_not}"


def _drift(timed: "pd.DataFrame", facts: Mapping[str, Any]) -> float:
    """The largest drift of the runs that measured these rows; 0 where none is known."""
    runs = [facts.get("runs", {}).get(run_id, {}) for run_id in timed["run_id"].unique()]
    return max((run["drift"] for run in runs if run.get("drift") is not None), default=0.0)


def _last_tried(block: Block) -> tuple[Any, ...]:
    """The largest size at which anything was measured, or failed in the attempt."""
    entries = block.entries.values()
    return [c for c in block.columns if any(c in row and row[c].tried for row in entries)][-1]


def _where(block: Block, varying: Sequence[str]) -> str:
    """`step, float32, n = 64`: the phase, and whatever tells this block from the others."""
    names = ("phase", *(n for n in varying if n != "phase"))
    named = [spoken(n, block.common[n]) for n in names]
    return ", ".join([*named, spoken("size", _last_tried(block)[0])])


def _matrices(block: Block, rows: "pd.DataFrame") -> str:
    """The kinds of matrix a conclusion is about: `easy κ 42 and hard κ 1e6 matrices`."""
    (size,) = _last_tried(block)
    unranked = {x.problem for x in block.left_out}
    here = rows[(rows["size"] == size) & ~rows["problem"].isin(unranked)]
    return kinds.named(kinds.kinds(here).values()) if len(here) else ""


def _conclusion(block: Block, spoilt: str, matrices: str) -> str:
    column = _last_tried(block)
    here = {str(row[0]): e[column] for row, e in block.entries.items() if column in e}
    able = {k: e for k, e in here.items() if e.ok and e.value is not None}
    if not able:
        return _none(block, here)
    if len(here) == 1:
        ((name, only),) = able.items()
        return f"{name} takes {_cost(block, only, matrices)}; no other method was measured."
    if len(able) == 1:
        ((name, only),) = able.items()
        return f"only {name} is ok{_everywhere(block)}: {_cost(block, only, matrices)}."
    if spoilt:
        return f"{units.count(len(able), 'method')} are ok, and not ranked: {spoilt}."
    known = {k: e for k, e in able.items() if e.error is not None}
    if not known:
        name, best = min(able.items(), key=_by_time)
        return f"fastest is {_with_ties(name, best, able)}, {_cost(block, best, matrices)}."
    limit = _limit([e.error or 0.0 for e in known.values()])
    within = {k: e for k, e in known.items() if limit is None or (e.error or 0.0) <= limit}
    name, best = min(within.items(), key=_by_time)
    kind = (
        f" with a {_kind(block)} error of at most {units.error(limit)}" if limit is not None else ""
    )
    text = f"fastest{kind} is {_with_ties(name, best, within)}, {_cost(block, best, matrices)}."
    return f"{text}{_other_ends(name, best, able)}"


def _none(block: Block, here: Mapping[str, Entry]) -> str:
    """Why no method can win."""
    ended = {status for e in here.values() for status, _ in e.statuses}
    for why in (UNVERIFIED, OTHER_PRECISION):
        if why in ended:
            return f"no method is ranked: {MEANING[why].partition(':')[0]}."
    return f"no method is ok{_everywhere(block)}."


def _unranked(block: Block) -> str:
    """The problems whose own reference is not known well enough."""
    here = [x for x in block.left_out if x.column == _last_tried(block) and x.ended == UNVERIFIED]
    if not here:
        return ""
    problems = ", ".join(dict.fromkeys(x.name for x in here))
    return f" On {problems} no method is ranked: {MEANING[UNVERIFIED].partition(':')[0]}."


def _limit(errors: Sequence[float]) -> float | None:
    half = sorted(errors)[(len(errors) - 1) // 2]
    return next((x for x in _LIMITS if x >= half), None)


def _by_time(item: tuple[str, Entry]) -> tuple[float, float]:
    entry = item[1]
    return (entry.value or 0.0, entry.error or 0.0)


def _with_ties(name: str, best: Entry, others: dict[str, Entry]) -> str:
    """The name, with those whose times its own is not told apart from."""
    ties = [k for k, e in others.items() if k != name and best.ties(e)]
    if not ties:
        return name
    more = f" and {len(ties) - 2} more" if len(ties) > 2 else ""
    return f"{name} (not told apart from {', '.join(ties[:2])}{more})"


def _cost(block: Block, entry: Entry, matrices: str) -> str:
    """`5.85 ms (root error 2e-04, worst on easy κ 42 and hard κ 1e6 matrices)`."""
    if entry.error is None:
        return f"{block.text(entry.value)} ({_kind(block)} error unknown)"
    several = entry.problems > 1 and "problem" in block.hidden
    worst = f", {'worst ' if several else ''}on {matrices}" if matrices else ""
    return f"{block.text(entry.value)} ({_kind(block)} error {units.error(entry.error)}{worst})"


def _other_ends(name: str, best: Entry, able: dict[str, Entry]) -> str:
    """The other two ends of the trade: the most accurate method, and the fastest of all.

    An error is an estimate: less than half of another is what counts as more accurate.
    """
    known = {k: e for k, e in able.items() if e.error is not None and k != name}
    finer = {k: e for k, e in known.items() if 2 * (e.error or 0.0) < (best.error or 0.0)}
    faster = {
        k: e for k, e in able.items() if (e.value or 0.0) < (best.value or 0.0) and not best.ties(e)
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
    """All that is not ok, most frequent first. What was measured has its error as its reason."""
    frame = with_labels(frame[frame["status"] != Status.OK])
    found = []
    for status, part in frame.groupby("status"):
        cells = part.drop_duplicates("cell_id")
        reasons: dict[str, int] = {}
        if status not in MEASURED:
            counted = cells.loc[cells["reason"] != "", "reason"].value_counts()
            reasons = dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))
        found.append(
            Failure(str(status), len(cells), cells["method"].nunique(), tuple(reasons.items()))
        )
    return sorted(found, key=lambda f: (-f.cells, f.status))


def steadiness(frame: "pd.DataFrame", facts: Mapping[str, Any]) -> list[str]:
    """What to keep in mind about the times: unstable rows, other work, a machine that changed."""
    sentences = []
    timed = frame[frame["seconds_median"].notna()]
    if unstable := int((timed["noise"] == Noise.UNSTABLE).sum()):
        sentences.append(
            f"~ unstable ({unstable} of {units.count(len(timed), 'row')}): its samples lie so far "
            f"apart that no difference below {100 * SHOWN_DELTA[Noise.UNSTABLE]:.0f} % shows."
        )
    sentences += [
        f"{flag} ({n} of {units.count(len(timed), 'row')}): {MEANING.get(flag, 'not known here')}."
        for flag, n in sorted(flags(timed).items())
    ]
    if (drift := _drift(timed, facts)) > DRIFTED:
        sentences.append(
            f"drift {100 * drift:.0f} %: what this machine can do at most changed by that "
            "from the start of the run to its end. Compare these times with care."
        )
    return sentences


def machines(frame: "pd.DataFrame", facts: Mapping[str, Any]) -> list[str]:
    """What the rows were measured on, one sentence per environment."""
    known, hashes = facts["environments"], [e for e in frame["environment"].unique() if e]
    if len(hashes) == 1:
        return [f"measured on {machine(known.get(hashes[0]), hashes[0])}"]
    several = [f"environment {e}: {machine(known.get(e), e)}" for e in hashes]
    warning = "These rows are of several environments: their times do not compare."
    return [warning, *several] if several else []


def as_data(found: Sequence[Failure]) -> list[dict[str, Any]]:
    """Failures for JSON."""
    return [
        {
            "status": f.status,
            "cells": f.cells,
            "methods": f.methods,
            "reasons": [{"reason": reason, "cells": n} for reason, n in f.reasons],
        }
        for f in found
    ]
