"""`mssbench recommend --save`: write the table that `sqrtm(a, forward="auto")` reads."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import RenderableType
from rich.text import Text

from mssbench.analysis import auto_table
from mssbench.errors import RunError
from mssbench.methods.auto import DEFAULT, users_table
from mssbench.records import units
from mssbench.results.run import Run


def saved(runs: Sequence[Run], file: Path) -> Iterator[RenderableType]:
    """Write which pair of methods to use at each measured place to a file; yield sentences on it.

    A place is a device, function, precision, size and batch, with or without gradient. A pair is a
    method for the root with one for the gradient. The pair of a place is the default one,
    eigh + loewner, unless another pair that is shipped with mssbench is clearly faster and about as
    accurate. Places where the default pair was not compared with another one, or where times do not
    compare, are left out.

    runs: the runs whose rows decide. Raises RunError if no run compares the default pair with
    another one, or if the file cannot be written. An existing file is then left unchanged.
    """
    answers = auto_table.answers(runs)
    if not answers.choices:
        raise RunError(
            f"nothing is saved: of {units.count(len(runs), 'run')} of this machine none compares "
            "eigh + loewner with another pair on easy and hard matrices. Measure such rows first, "
            "for example with `mssbench run quick`."
        )
    try:
        auto_table.write(file, answers)
    except OSError as error:
        raise RunError(
            f"{file} cannot be written: {error.strerror}: {error.filename}. "
            "Name another file with --save-as."
        ) from None

    default = " + ".join(DEFAULT)
    others = sum(entry["forward"] != DEFAULT[0] for entry in answers.choices)
    yield Text(
        f"{units.count(len(answers.choices), 'place')} (sizes, batches, precisions) from "
        f"{units.count(len(runs), 'run')} in {file}. {default} is the answer for "
        f"{len(answers.choices) - others} of them, a clearly faster pair for {others}."
    )
    if answers.unanswered:
        yield Text(
            f"Left out: {answers.unanswered} more, where {default} was not compared with another "
            "pair, or where times cannot be compared.",
            style="dim",
        )

    call = 'mssbench.sqrtm(a, forward="auto")'
    if file == users_table():
        yield Text(f"{call} uses these pairs from now on.")
    else:
        yield Text(f"{call} uses these pairs where MSSBENCH_AUTO={file} is set.")
