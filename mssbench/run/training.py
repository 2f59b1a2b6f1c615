"""Train the networks of a suite into a folder, each in a process of its own, or resume that.

`run.training_folder` lists the files of a folder. The tables are written anew from the results at
the end, so that a run that was killed loses nothing but the epochs that were not complete.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import tomli_w

from mssbench.errors import InputError, NotInstalled, SuiteError, unknown
from mssbench.records.facts import identify
from mssbench.results.facts_file import read_facts
from mssbench.results.files import replace
from mssbench.results.rows import SUITE
from mssbench.run import training_folder as folders
from mssbench.run.signals import Takedown
from mssbench.run.training_workers import Watcher, Workers
from mssbench.suite.training import TrainingSuite


def run(
    suite: TrainingSuite,
    path: Path,
    *,
    at_once: int = 1,
    threads: int = 1,
    facts: Mapping[str, Any],
    fresh: bool = False,
    capture: bool = False,
    begin: Callable[[int, int], None] = lambda *_: None,
    watch: Watcher = lambda *_: None,
) -> list[dict[str, Any]]:
    """Train the networks of a suite, or of a shard, that are missing in a folder; return all rows.

    Trainings that crashed, were unsupported or lacked a package are tried again. The folder may
    hold trainings of an earlier version of the suite; those that it still has are kept.

    at_once: how many are trained at the same time. With more than one, the rows have no times,
    since trainings slow each other down. threads: of each. facts: those of this machine.
    fresh: whether all are trained again. capture: whether the covariances of fixed test data are
    written, before the first step and after each epoch of each network that is trained now.
    begin: is told how many networks will be trained, and how many trainings are there already.
    watch: is told each epoch and each end of a training.
    Ctrl-C and SIGTERM end the run early; the same call resumes it.

    Raises SuiteError for a task, a method or a parameter that does not exist, and for a batch that
    is larger than the data.
    Raises RunError if another run writes to the folder, or if it holds another suite, another
    shard, a run of `mssbench run`, other files or a damaged environment.json.
    """
    _check_suite(suite)
    folders.make_folder(path)
    with folders.locked(path), Takedown() as takedown:
        _prepare(path, suite, fresh=fresh)
        results = {cell.cell_id: folders.result(path, cell) for cell in suite.cells}
        todo = [cell for cell in suite.cells if not folders.is_trained(results[cell.cell_id])]
        begin(len(todo), len(suite.cells) - len(todo))
        environment = identify(facts)
        folders.write_facts(path, {environment: facts} if todo else {}, suite.part())

        asked: dict[str, Any] = {
            "threads": threads,
            "timed": at_once == 1,
            "probes": suite.probes,
            "robustness": suite.robustness,
        }
        if capture:
            (path / folders.CAPTURED).mkdir(exist_ok=True)
            asked["captured"] = str((path / folders.CAPTURED).resolve())
        for cell, result in Workers(path, asked, watch).trained(todo, at_once, takedown.asked):
            result |= {"environment": environment, "threads": threads}
            results[cell.cell_id] = result
            folders.keep(path, cell, result)
        return folders.write_tables(path, suite.cells, results)


def _prepare(path: Path, suite: TrainingSuite, *, fresh: bool) -> None:
    """Make a folder ready for the trainings of a suite. Raises RunError if it cannot be used.

    fresh: whether what is there is trained again.
    """
    folders.refuse_foreign(path, fresh=fresh)
    folders.refuse_other_suite(path, suite, fresh=fresh)
    if fresh:
        folders.clear(path)
    else:
        read_facts(path)  # raises RunError before anything is written if they are damaged
        folders.refuse_other_part(path, suite, fresh=fresh)
    (path / folders.CELLS).mkdir(exist_ok=True)
    replace(path / SUITE, tomli_w.dumps(dict(suite.document)).encode())


def _check_suite(suite: TrainingSuite) -> None:
    """Raise SuiteError if a name in a suite does not exist, or a batch exceeds the data of a task.

    A task whose package is missing is left to its trainings, whose status says so.
    """
    from mssbench.training.checks import check_batch, check_names  # imports torch
    from mssbench.training.one import method_of
    from mssbench.training.tasks.registry import names, task

    for cell in suite.cells:
        if cell.task not in names():
            raise SuiteError(f"suite {suite.name!r}: {unknown('task', cell.task, names())}")
        try:
            with suppress(NotInstalled):
                check_batch(task(cell.task), cell.batch)
        except SuiteError as error:
            raise SuiteError(f"suite {suite.name!r}: {error}") from None
        try:
            check_names(method_of(cell))
        except InputError as error:
            raise SuiteError(f"suite {suite.name!r}, method {cell.method!r}: {error}") from None
