"""Measure a question again without losing its earlier rows, for `recommend --measure`.

The new rows are written into a folder beside the earlier one, which they replace only if they are
at least as good. A process that is killed in between leaves both folders.
"""

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mssbench import results
from mssbench.analysis import recommend
from mssbench.analysis.recommend import Question
from mssbench.analysis.trust import trust
from mssbench.errors import MssbenchError
from mssbench.results.folder import LOG, RunFolder
from mssbench.results.locks import IN_FOLDER
from mssbench.results.rows import ENVIRONMENT, JOURNAL, SAMPLES, SUITE, TABLE
from mssbench.results.run import Run

_OF_A_RUN = (TABLE, JOURNAL, SAMPLES, ENVIRONMENT, SUITE, LOG, IN_FOLDER)


def measured_anew(
    question: Question, path: Path, measure: Callable[[Path], object], say: Callable[[str], None]
) -> Run:
    """Measure a question again, and return the better of its new and its earlier run.

    The run that is returned is then in the folder `path`, and the other one is deleted. path: the
    folder of the earlier run. measure: measures into a folder, in place of what is there. say:
    prints that the earlier rows stay, and why. Raises RunError if another run writes to the folder,
    or if it contains something else.
    """
    new, old = _beside(path, "again"), _beside(path, "before")

    with RunFolder(path, fresh=True):  # refuses a folder that must not be replaced
        measure(new)
        run = results.open(new)
        if not _is_as_good(run, results.open(path), question):
            state = trust(run.current, run.facts)
            why = "" if state.comparable else f": the machine {state.why_not}"
            say(f"The new rows give no better answer{why}. The earlier rows stay in {path}.")
            shutil.rmtree(new)
            return results.open(path)

        path.rename(old)
        new.rename(path)
        _delete(old, path)
    return results.open(path)


def repair(path: Path) -> None:
    """Finish an exchange of the folder `path` that was killed, if there is one."""
    old = _beside(path, "before")
    if not old.is_dir():
        return
    if path.exists():
        _delete(old, path)
    else:
        old.rename(path)


def _beside(path: Path, word: str) -> Path:
    return path.with_name(f"{path.name}-{word}")


def _delete(old: Path, path: Path) -> None:
    """Delete the folder of a run that was replaced. Files of the user's move to its successor."""
    for file in sorted(old.iterdir()):
        if file.name in _OF_A_RUN:
            file.unlink()
        elif not (path / file.name).exists():
            file.rename(path / file.name)
    with suppress(OSError):  # a file of the same name is there already
        old.rmdir()


def _is_as_good(new: Run, old: Run, question: Question) -> bool:
    """Whether a new run may replace an earlier one: it answers, or has as many measured rows.

    A run that does not answer never replaces one that does. A damaged earlier run is replaced.
    """
    try:
        before = _worth(old, question)
    except MssbenchError:
        return True
    answers, rows = _worth(new, question)
    return answers or (not before[0] and rows >= before[1])


def _worth(run: Run, question: Question) -> tuple[bool, int]:
    """Return whether a run answers a question, and how many rows with a time it has."""
    proof = recommend.proof([run], question)
    answers = proof is not None and recommend.best(proof) is not None
    return answers, int(run.frame["seconds_median"].notna().sum())
