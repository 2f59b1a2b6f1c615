"""Read environment.json: facts of machines by the hash that rows carry, and of runs by run_id."""

import json
from pathlib import Path
from typing import Any

from mssbench.errors import RunError
from mssbench.results.files import contents
from mssbench.results.rows import ENVIRONMENT

_GROUPS = ("environments", "runs")
# The key of the cells whose rows stand in the table although the suite no longer has these cells.
LEFT_OVER = "left_over_cells"
# The types of the facts that readers use, in either group. A file of an older version may lack any.
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
    """The facts of a results folder: {"environments": facts by hash, "runs": facts by run_id}.

    Both are empty if the folder has no such file. LEFT_OVER, where it is there, lists by cell_id
    the cells that an earlier run measured and that the suite of the latest run does not have.
    Raises RunError if the file is damaged or has another structure.
    """
    empty: dict[str, Any] = {"environments": {}, "runs": {}}
    file = folder / ENVIRONMENT
    try:
        data = contents(file)
        if data is None:
            return empty
        found = json.loads(data.decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(file, str(error) or type(error).__name__) from None
    if why := _fault(found):
        raise _damaged(file, why)
    return empty | dict(found)


def _damaged(file: Path, why: str) -> RunError:
    return RunError(
        f"{file} is damaged ({why}): what the rows were measured on is not known. Bring the file "
        f"back; or remove it, as `mssbench merge {file.parent}` does; or choose another --out, or "
        "--fresh to measure all of it again."
    )


def _fault(found: Any) -> str:
    """What is wrong with the structure of the document; empty if nothing is."""
    if not isinstance(found, dict):
        return "it is no object"

    left_over = found.get(LEFT_OVER, [])
    if not isinstance(left_over, list) or not all(isinstance(each, str) for each in left_over):
        return f"{LEFT_OVER} is not a list of texts"

    for group in _GROUPS:
        members = found.get(group, {})
        if not isinstance(members, dict):
            return f"{group} is no object"
        for name, each in members.items():
            if not isinstance(each, dict):
                return f"{name!r} of {group} is no object"
            for key, kinds in _TYPES.items():
                if key in each and not isinstance(each[key], kinds):
                    return f"{key} of {name!r} of {group} is {each[key]!r:.40}"
            if why := _inner_fault(each):
                return f"{why} of {name!r} of {group} is of another type"
    return ""


def _inner_fault(each: dict[str, Any]) -> str:
    """The path of the first nested fact whose type is wrong; empty if none is."""
    gpus = each.get("gpus", [])
    if not all(isinstance(gpu, dict) and isinstance(gpu.get("name"), str) for gpu in gpus):
        return "gpus"
    for name in ("granted", "quota"):
        if not isinstance(each.get("cores", {}).get(name), int | float | None):
            return f"cores.{name}"
    if not all(isinstance(load, int | float) for load in each.get("load_start") or []):
        return "load_start"
    if not isinstance(measure := each.get("document", {}).get("measure", {}), dict):
        return "document.measure"
    if not isinstance(measure.get("max_error", 0), int | float):
        return "document.measure.max_error"
    return ""
