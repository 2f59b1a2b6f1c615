"""Make the table that `sqrtm(a, forward="auto")` chooses methods by, from measured runs.

For each place (device, function, with gradient or not, precision, size and batch) the table has a
pair: a method for the root with a method for the gradient. It is the default pair, eigh + loewner,
or one that is clearly faster and not much less accurate. A place has no entry if the default pair
was not measured there, if it is not right, which means within the error limit on every kind of
matrix, or if times cannot be compared. `recommend` may name a less accurate pair, because it also
shows the errors.
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

# A pair may have this many times the error of the default pair on each kind of matrix. Errors below
# the second number are always allowed: they are rounding errors of float32.
_LESS_ACCURATE, _ROUNDING = 3.0, 1e-5


class Answers(NamedTuple):
    """The pairs chosen from some runs, one for each place, and the number of places without one."""

    choices: list[dict[str, Any]]
    unanswered: int  # places without a choice, see `_entry`


def answers(runs: Sequence[Run]) -> Answers:
    """Return the chosen pair for each place of these runs, and the number of places without one."""
    choices, unanswered = list[dict[str, Any]](), 0
    for question in _questions(runs):
        entry = _entry(question, proof(runs, question, also_left_over=False))
        if entry is None:
            unanswered += 1
        else:
            choices.append(entry)
    return Answers(choices, unanswered)


def write(path: Path, found: Answers) -> None:
    """Write the table to a file that `forward="auto"` reads. The file is replaced as a whole.

    Raises OSError if it cannot be written.
    """
    text = json.dumps(
        {"schema": SCHEMA, "written_by": f"mssbench {__version__}", "choices": found.choices},
        indent=1,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(path, f"{text}\n".encode())


def _questions(runs: Sequence[Run]) -> Iterator[Question]:
    """Yield one question for each place (device, function, ...) of the runs, in a fixed order."""
    names = ["device", "function", "phase", "precision", "size", "batch"]
    places = set[tuple[Any, ...]]()
    for run in runs:
        frame = run.current[run.current["phase"].isin(["forward", "step"])]
        places |= {*frame[names].itertuples(index=False, name=None)}

    for device, function, phase, precision, size, batch in sorted(places):
        if function in FUNCTIONS:  # the functions that `sqrtm` and `isqrtm` compute
            yield Question(
                int(size), int(batch), precision, device, function, gradient=phase == "step"
            )


def _entry(question: Question, evidence: Proof | None) -> dict[str, Any] | None:
    """Return the entry of one place; None without evidence, or if `_best` finds no pair in it.

    question: the place. evidence: the rows that were measured there, with the ranked methods.
    """
    if evidence is None:
        return None
    best = _best(evidence)
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
        **_provenance(evidence),
    }


def _best(evidence: Proof) -> Line | None:
    """Return the pair to use at one place: the fastest one, unless the default pair is about equal.

    A pair other than the default one is returned only if its root and gradient are right, if it is
    faster by more than the uncertainty of the times, and if its errors are at most a few times
    those of the default pair. Otherwise the default pair is returned.

    evidence: the rows of the place. Returns None if the default pair was not measured or is not
    right (within the error limit on every kind of matrix), if the run did not reach all cells, or
    if the times cannot be compared, for example because the machine was busy.
    """
    reliability, board = trust(evidence.rows, evidence.run.facts), evidence.board
    if not reliability.comparable or board.unreached:
        return None

    right = decision.right_lines(board)
    default = next((line for line in right if _is_default(line)), None)
    if default is None:
        return None

    faster = [
        line
        for line in right
        if decision.is_faster(line, default, reliability.drift)
        and _comes_with_mssbench(line)
        and _nearly_as_accurate(line, default, board.deciding)
    ]
    return min(faster, key=lambda line: line.seconds, default=default)


def _is_default(line: Line) -> bool:
    forward, backward = DEFAULT
    return line.row["forward"] == forward and line.row["backward"] in (backward, "none")


def _comes_with_mssbench(line: Line) -> bool:
    """Whether both methods of a pair come with mssbench, so that no other package is needed."""
    row = line.row
    methods = [registry.known("forward").get(row["forward"])]
    if row["backward"] != "none":
        methods.append(registry.known("backward").get(row["backward"]))
    return all(m is not None and not m.package for m in methods)


def _nearly_as_accurate(line: Line, default: Line, deciding: Sequence[str]) -> bool:
    """Whether a pair is not much less accurate than the default pair on each deciding kind."""
    for kind in deciding:
        error, usual = (pair.marks[kind].error or 0.0 for pair in (line, default))
        if error > max(_LESS_ACCURATE * usual, _ROUNDING):
            return False
    return True


def _provenance(evidence: Proof) -> dict[str, str]:
    """Return the machine, the date and the run that the rows of an answer come from."""
    environment = evidence.run.facts["environments"].get(evidence.rows["environment"].iloc[0], {})
    run = evidence.run.facts["runs"].get(evidence.rows["run_id"].iloc[0], {})
    device = evidence.rows["device"].iloc[0]
    machine = environment.get("cpu") or "an unknown CPU"
    if device == "cuda" and (gpus := cast("list[dict[str, Any]]", environment.get("gpus"))):
        machine = str(gpus[0].get("name", "an unknown GPU"))

    versions = environment.get("versions") or {}
    return {
        "machine": f"{machine}, torch {versions.get('torch', 'unknown')}",
        "date": str(run.get("started", ""))[:10],
        "run": evidence.run.name,
    }
