"""Measure the answer to a question again and keep the earlier rows, for `recommend --measure`.

A question says what to compute at which size and batch. The new rows are written into a folder
beside the earlier one, `NAME-again`. It replaces the earlier folder if a method can be recommended
from the new rows, or if none could be from the earlier ones and there are at least as many new rows
with a time; `exchange` says how. A process that is killed may leave the new folder behind.
"""

from collections.abc import Callable
from pathlib import Path

from mssbench import results
from mssbench.analysis import recommend
from mssbench.analysis.recommend import Question
from mssbench.analysis.trust import trust
from mssbench.errors import MssbenchError, RunError
from mssbench.results.folder import RunFolder
from mssbench.results.run import Run
from mssbench.run import exchange

_NEW = "again"  # the end of the name of the new folder beside the one of a question


def measured_anew(
    question: Question, path: Path, measure: Callable[[Path], object], say: Callable[[str], None]
) -> Run:
    """Measure the answer to a question again, and return the better of the new and the earlier run.

    Which run is better is said at the top of this module. It is then in the folder `path`, and the
    other one is deleted. path: the folder of the earlier run. measure: measures into a folder, in
    place of what is there. say: prints that the earlier rows stay, and why. If `measure` raises an
    exception, such as that of Ctrl-C, what it has written is deleted. Raises RunError if another
    run writes to the folder, if it contains something else, or if files of an earlier exchange are
    in the way.
    """
    new, old = path.with_name(f"{path.name}-{_NEW}"), exchange.before(path)
    if old.exists():
        raise RunError(
            f"{old} has files that are in {path} too, and the folder is needed to replace the rows "
            "there. Move these files elsewhere, or delete them."
        )

    with RunFolder(path, fresh=True):  # refuses a folder that must not be replaced
        try:
            measure(new)
        except MssbenchError:  # such as a folder that must not be written: it is left as it is
            raise
        except BaseException:  # such as the end of the program after Ctrl-C
            exchange.delete_run(new)
            say(
                "The measurement ended early: its rows are not complete and were deleted again. "
                f"The earlier rows stay in {path}."
            )
            raise

        run = results.open(new)
        if not _is_as_good(run, results.open(path), question):
            state = trust(run.current, run.facts)
            why = "" if state.comparable else f": the machine {state.why_not}"
            say(f"The new rows give no better answer{why}. The earlier rows stay in {path}.")
            exchange.delete_run(new)
            return results.open(path)

        exchange.put_in_place(new, path)
    return results.open(path)


def is_left_behind(folder: Path) -> bool:
    """Whether a folder was left by a process that was killed while it measured a question again.

    The folder of the question is still there then, with the rows that count.
    """
    name = folder.name.removesuffix(f"-{_NEW}")
    is_new = name != folder.name and folder.with_name(name).is_dir()
    return is_new or exchange.is_left_behind(folder)


def _is_as_good(new: Run, old: Run, question: Question) -> bool:
    """Whether a new run may replace an earlier one.

    It may if it answers the question, which means that a method can be recommended from it, or if
    neither run does and the new one has at least as many rows with a time. A damaged earlier run is
    always replaced.
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
