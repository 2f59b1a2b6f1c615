"""What a DataFrame of results knows about the runs that its rows are of.

The rows of a table do not say whether the machine was disturbed while they were measured, nor when
that was. The frame carries these facts in `frame.attrs["mssbench"]`, as one text in JSON: pandas
copies attributes with every frame that is made of another one, compares them in `concat`, and
writes them into Parquet files and pickles, and a text is cheap to copy, to compare and to write.

`concat` drops attributes that differ. The facts of the runs that this process has loaded are
therefore also kept in memory, and found again by the column `run_id`.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from mssbench.records.facts import comparable
from mssbench.records.schema import KEY
from mssbench.report.drawn import Measured

if TYPE_CHECKING:
    import pandas as pd

ATTRIBUTE = "mssbench"  # the key in `frame.attrs`
# The facts of a run that are carried: when it began, and whether its times can be compared.
_OF_RUN = ("started", "seconds", "suite", "load_start", "drift")

_known: dict[str, str] = {}  # the attribute of each run that was loaded, by run_id


class _Carried(NamedTuple):
    """What a frame knows about a run: its name, its facts, and its cells that are left over.

    facts: a part of `Run.facts`, of the same structure. left_over: cell_ids, see `Run.left_over`.
    """

    name: str
    facts: Mapping[str, Any]
    left_over: frozenset[str]


def attach(frame: "pd.DataFrame", name: str, facts: Mapping[str, Any], left_over: set[str]) -> None:
    """Attach to a frame what is known about the run of its rows.

    facts, left_over: as in `Run.facts` and `Run.left_over`.
    """
    text = _written(name, facts, left_over)
    frame.attrs[ATTRIBUTE] = text
    _known.update(dict.fromkeys(map(str, frame["run_id"].unique()), text))


def _written(name: str, facts: Mapping[str, Any], left_over: set[str]) -> str:
    """Return the attribute of a frame: what `_Carried` has, as JSON."""
    environments = {
        e: _without_none({**comparable(known), "commit": known.get("commit")})
        for e, known in facts["environments"].items()
    }
    runs = {
        run_id: {k: known[k] for k in _OF_RUN if k in known}
        | {"document": {"measure": _max_error(known)}}
        for run_id, known in facts["runs"].items()
    }
    carried = {
        "name": name,
        "facts": {"environments": environments, "runs": runs},
        "left_over": sorted(left_over),
    }
    return json.dumps(carried, sort_keys=True)


def _without_none(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return facts without those that are unknown, which other functions expect to be missing."""
    return {name: x for name, x in facts.items() if x is not None}


def _max_error(facts: Mapping[str, Any]) -> dict[str, float]:
    """Return the error above which a run called a row inaccurate, if it is known."""
    measure = facts.get("document", {}).get("measure", {})
    return {"max_error": measure["max_error"]} if "max_error" in measure else {}


def runs_of(frame: "pd.DataFrame") -> list[Measured]:
    """Return the rows of a frame by the run that measured them, with what is known about each run.

    Rows of cells that the suite of a run no longer has are left out. The facts of a run are empty
    if they were lost, for example because another process has joined two frames.
    """
    found: dict[str, tuple[_Carried, list[str]]] = {}
    unknown = []
    for run_id in map(str, frame["run_id"].unique()):
        text = _attribute(frame, run_id)
        if text is None:
            unknown.append(run_id)
        else:
            found.setdefault(text, (_read(text), []))[1].append(run_id)

    runs = [
        _measured(frame, carried, ids, of=[c.name for c, _ in found.values()])
        for carried, ids in found.values()
    ]
    nothing: dict[str, Any] = {"environments": {}, "runs": {}}
    rest = frame[frame["run_id"].isin(unknown)]
    if rest.duplicated(list(KEY)).any():  # the same cells in several runs
        return runs + [Measured(r, rest[rest["run_id"] == r], nothing) for r in unknown]
    return [*runs, Measured("unknown run", rest, nothing)] if len(rest) else runs


def _measured(frame: "pd.DataFrame", carried: _Carried, ids: list[str], of: list[str]) -> Measured:
    """Return the rows of one run. ids: its run_ids. of: the names of all runs of the frame."""
    here = frame["run_id"].isin(ids) & ~frame["cell_id"].isin(carried.left_over)
    name = carried.name if of.count(carried.name) == 1 else f"{carried.name} {ids[0]}"
    return Measured(name, frame[here], carried.facts)


def _attribute(frame: "pd.DataFrame", run_id: str) -> str | None:
    """Return the attribute for the rows of a run_id; None if it is not known."""
    text = frame.attrs.get(ATTRIBUTE)
    if isinstance(text, str) and run_id in _read(text).facts["runs"]:
        return text
    return _known.get(run_id)


def _read(text: str) -> _Carried:
    """Return what an attribute says. It is empty if the text is not one that `_written` wrote."""
    try:
        content = json.loads(text)
        return _Carried(content["name"], content["facts"], frozenset(content["left_over"]))
    except (ValueError, KeyError, TypeError):
        return _Carried("", {"environments": {}, "runs": {}}, frozenset())
