"""Read environment.json, which has the facts of the machines and of the runs of a folder.

The facts of a machine (processor, versions, ...) are stored under the hash in the column
`environment`; the facts of a run (start, suite, load, ...) under its run_id.
"""

import json
from pathlib import Path
from typing import Any

from mssbench.errors import RunError
from mssbench.results import parts
from mssbench.results.files import contents
from mssbench.results.rows import ENVIRONMENT

_GROUPS = ("environments", "runs")
# Key of the list of cells, by cell_id, that the table has but the suite no longer has.
LEFT_OVER = "left_over_cells"
# Types of the facts that readers use, in both groups. A file of an older version may lack any.
_TYPES: dict[str, tuple[type, ...]] = {
    "cores": (dict,),
    "cpu": (str, type(None)),
    "document": (dict,),
    "drift": (int, float, type(None)),
    "gpus": (list,),
    "load_start": (list, type(None)),
    "seconds": (int, float, type(None)),
    "started": (str,),
    "suite": (str,),
    "versions": (dict,),
}


def read_facts(folder: Path) -> dict[str, Any]:
    """Return the facts of a folder: {"environments": facts by hash, "runs": facts by run_id}.

    Both are empty if the folder has no environment.json. The key LEFT_OVER, if it is there, lists
    the cell_ids that an earlier run measured and that the suite of the latest run does not have;
    the key PART says which shards of its suite the run has, see `parts`.
    Raises RunError if the file is damaged or has another structure.
    """
    empty: dict[str, Any] = {"environments": {}, "runs": {}}
    file = folder / ENVIRONMENT

    try:
        data = contents(file)
        if data is None:
            return empty
        document = json.loads(data.decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(file, str(error) or type(error).__name__) from None

    if why := _fault(document):
        raise _damaged(file, why)
    return empty | dict(document)


def facts_or_fault(folder: Path) -> tuple[dict[str, Any], str]:
    """Return the facts of a folder, and why they cannot be read; one of the two is empty."""
    try:
        return read_facts(folder), ""
    except RunError as error:
        return {"environments": {}, "runs": {}}, str(error)


def _damaged(file: Path, why: str) -> RunError:
    return RunError(
        f"{file} is damaged ({why}): the machine of the rows is unknown. Restore the file; or "
        f"remove it, as `mssbench merge {file.parent}` does; or choose another --out, or --fresh "
        "to measure everything again."
    )


def _fault(document: Any) -> str:
    """Return what is wrong with the structure of the document; empty if nothing is."""
    if not isinstance(document, dict):
        return "it is no object"

    left_over = document.get(LEFT_OVER, [])
    if not isinstance(left_over, list) or not all(isinstance(cell, str) for cell in left_over):
        return f"{LEFT_OVER} is not a list of texts"
    if parts.PART in document and (why := parts.fault(document[parts.PART])):
        return why

    for group in _GROUPS:
        members = document.get(group, {})
        if not isinstance(members, dict):
            return f"{group} is no object"
        for name, facts in members.items():
            if not isinstance(facts, dict):
                return f"{name!r} of {group} is no object"
            for key, kinds in _TYPES.items():
                if key in facts and not isinstance(facts[key], kinds):
                    return f"{key} of {name!r} of {group} is {facts[key]!r:.40}"
            if why := _inner_fault(facts):
                return f"{why} of {name!r} of {group} is of another type"
    return ""


def _inner_fault(facts: dict[str, Any]) -> str:
    """Return the path of the first nested fact whose type is wrong; empty if there is none."""
    gpus = facts.get("gpus", [])
    if not all(isinstance(gpu, dict) and isinstance(gpu.get("name"), str) for gpu in gpus):
        return "gpus"

    for name in ("granted", "quota"):
        if not isinstance(facts.get("cores", {}).get(name), int | float | None):
            return f"cores.{name}"
    if not all(isinstance(load, int | float) for load in facts.get("load_start") or []):
        return "load_start"

    if not isinstance(measure := facts.get("document", {}).get("measure", {}), dict):
        return "document.measure"
    if not isinstance(measure.get("max_error", 0), int | float):
        return "document.measure.max_error"
    return ""
