"""The table of `forward="auto"`, made from measured runs.

Whoever writes "auto" gets the default pair, eigh + loewner, or one that is clearly faster and not
much less accurate. What `recommend` would name may be less accurate, as its reader sees the errors.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from mssbench import __version__
from mssbench.analysis import decision
from mssbench.analysis.decision import Line
from mssbench.analysis.naming import parameters_of
from mssbench.analysis.recommend import Proof, Question, proof
from mssbench.analysis.trust import trust
from mssbench.methods import registry
from mssbench.methods.auto import DEFAULT, SCHEMA
from mssbench.methods.method import FUNCTIONS
from mssbench.results import files
from mssbench.results.run import Run

# A pair may have this many times the error of the default pair on each kind of matrix, and any
# error of the second size: that is rounding in float32, and differs between pairs by chance.
_LESS_ACCURATE, _ROUNDING = 3.0, 1e-5


class Answers(NamedTuple):
    """The answers of some runs, and how many places had none."""

    choices: list[dict[str, Any]]
    unanswered: int  # places where no pair is right everywhere, or times do not compare


def answers(runs: Sequence[Run]) -> Answers:
    """The pair for each place that these runs have measured well enough."""
    found, unanswered = list[dict[str, Any]](), 0
    for question in _questions(runs):
        entry = _entry(question, proof(runs, question))
        if entry is None:
            unanswered += 1
        else:
            found.append(entry)
    return Answers(found, unanswered)


def write(path: Path, found: Answers) -> None:
    """Put the answers where `forward="auto"` finds them; a reader sees the old or the new table.

    Raises OSError where the file cannot be written.
    """
    text = json.dumps(
        {"schema": SCHEMA, "written_by": f"mssbench {__version__}", "choices": found.choices},
        indent=1,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(path, f"{text}\n".encode())


def _questions(runs: Sequence[Run]) -> Iterator[Question]:
    """One question for each place of the runs, in a fixed order."""
    names = ["device", "function", "phase", "precision", "size", "batch"]
    places = set[tuple[Any, ...]]()
    for run in runs:
        frame = run.frame[run.frame["phase"].isin(["forward", "step"])]
        places |= {*frame[names].itertuples(index=False, name=None)}
    for device, function, phase, precision, size, batch in sorted(places):
        if function in FUNCTIONS:  # what `sqrtm` and `isqrtm` compute
            yield Question(
                int(size), int(batch), precision, device, function, gradient=phase == "step"
            )


def _entry(question: Question, found: Proof | None) -> dict[str, Any] | None:
    """One line of the table; None where nothing can be recommended."""
    if found is None:
        return None
    best = _best(found)
    if best is None:
        return None
    row = best.row
    backward = row["backward"] if question.gradient else "loewner"
    return {
        "device": question.device,
        "function": question.function,
        "gradient": question.gradient,
        "precision": question.precision,
        "size": question.size,
        "batch": question.batch,
        "forward": row["forward"],
        "backward": backward,
        "parameters": parameters_of(row),
        "seconds": float(f"{best.seconds:.3g}"),
        **_provenance(found),
    }


def _best(found: Proof) -> Line | None:
    """The default pair, or the fastest that is clearly faster and nearly as accurate.

    None where the default pair was not measured or is not right, or where times do not compare.
    """
    believed, board = trust(found.rows, found.run.facts), found.board
    if not believed.comparable or board.unreached:
        return None
    right = decision.right_lines(board)
    default = next((line for line in right if _is_default(line)), None)
    if default is None:
        return None
    faster = [
        line
        for line in right
        if line.seconds < default.seconds
        and not decision.tied(line, default, believed.drift)
        and _comes_with_mssbench(line)
        and _nearly_as_accurate(line, default, board.deciding)
    ]
    return min(faster, key=lambda line: line.seconds, default=default)


def _is_default(line: Line) -> bool:
    forward, backward = DEFAULT
    return line.row["forward"] == forward and line.row["backward"] in (backward, "none")


def _comes_with_mssbench(line: Line) -> bool:
    """Whether a pair can be called wherever mssbench is installed."""
    row = line.row
    methods = [registry.known("forward").get(row["forward"])]
    if row["backward"] != "none":
        methods.append(registry.known("backward").get(row["backward"]))
    return all(m is not None and not m.package for m in methods)


def _nearly_as_accurate(line: Line, default: Line, deciding: Sequence[str]) -> bool:
    for kind in deciding:
        error, usual = (each.marks[kind].error or 0.0 for each in (line, default))
        if error > max(_LESS_ACCURATE * usual, _ROUNDING):
            return False
    return True


def _provenance(found: Proof) -> dict[str, str]:
    """The machine, the day and the run that the rows of an answer come from."""
    environment = found.run.facts["environments"].get(found.rows["environment"].iloc[0], {})
    run = found.run.facts["runs"].get(found.rows["run_id"].iloc[0], {})
    device = found.rows["device"].iloc[0]
    machine = environment.get("cpu") or "an unknown CPU"
    if device == "cuda" and (gpus := cast("list[dict[str, Any]]", environment.get("gpus"))):
        machine = str(gpus[0].get("name", "an unknown GPU"))
    versions = environment.get("versions") or {}
    return {
        "machine": f"{machine}, torch {versions.get('torch', 'unknown')}",
        "date": str(run.get("started", ""))[:10],
        "run": found.run.name,
    }
