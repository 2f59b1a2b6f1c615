"""Put the folder of a new run in the place of an earlier one; files of the user's are kept.

While the folders are exchanged, the earlier one is called `NAME-before`. A process that is killed
may leave it behind.
"""

from contextlib import suppress
from pathlib import Path

from mssbench.results import trainings
from mssbench.results.folder import LOG
from mssbench.results.locks import IN_FOLDER
from mssbench.results.rows import ENVIRONMENT, JOURNAL, SAMPLES, SUITE, TABLE
from mssbench.run import training_folder
from mssbench.run.training_folder import TABLES

_OF_A_RUN = (TABLE, JOURNAL, SAMPLES, ENVIRONMENT, SUITE, LOG, IN_FOLDER)
_OF_TRAININGS = (*TABLES, ENVIRONMENT, SUITE, IN_FOLDER)
_OLD = "before"


def put_in_place(new: Path, path: Path) -> None:
    """Put the folder `new` in the place of `path`, and delete the run that was there.

    Files of the user's in the earlier folder are moved into the new one. If `path` is a symbolic
    link, it stays one, and the folder that it leads to is exchanged.
    """
    path = path.resolve()
    old = before(path)
    if path.exists():
        path.rename(old)
    new.rename(path)
    delete_run(old, successor=path)


def repair(path: Path) -> None:
    """Finish an exchange of the folder `path` that was killed, if there is one."""
    path = path.resolve()
    old = before(path)
    if not old.is_dir():
        return
    if path.exists():
        delete_run(old, successor=path)
    else:
        old.rename(path)


def before(path: Path) -> Path:
    """Return what the earlier folder is called during an exchange."""
    return path.with_name(f"{path.name}-{_OLD}")


def is_left_behind(folder: Path) -> bool:
    """Whether a folder was left by an exchange that was killed, and the whole run is beside it."""
    name = folder.name.removesuffix(f"-{_OLD}")
    return name != folder.name and folder.with_name(name).is_dir()


def delete_run(folder: Path, *, successor: Path | None = None) -> None:
    """Delete the files of a run, or of trainings, and the folder unless other files are left in it.

    successor: a folder into which files of the user's are moved, if it has none of the same name.
    """
    if not folder.is_dir():
        return
    names: tuple[str, ...] = _OF_A_RUN
    if trainings.holds(folder):
        names = _OF_TRAININGS
        training_folder.clear(folder)
        for name in (training_folder.CELLS, training_folder.CAPTURED):
            with suppress(OSError):  # it is not there, or holds files of the user's
                (folder / name).rmdir()
    for file in sorted(folder.iterdir()):
        if file.name in names:
            file.unlink()
        elif successor is not None and not (successor / file.name).exists():
            file.rename(successor / file.name)
    with suppress(OSError):  # it is not empty
        folder.rmdir()
