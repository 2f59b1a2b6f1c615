"""The suites that come with mssbench: those of `mssbench run`, and those of `mssbench train`."""

from importlib.resources import files
from pathlib import Path


def of_runs() -> dict[str, Path]:
    """Return the file of each suite of `mssbench run`, by name.

    They are found in a checkout and in an installed wheel.
    """
    return _found("suites")


def of_trainings() -> dict[str, Path]:
    """Return the file of each suite of `mssbench train`, by name."""
    return _found("suites/training")


def _found(name: str) -> dict[str, Path]:
    package = Path(str(files("mssbench")))
    for folder in (package / name, package.parent / name):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.toml"))}
    return {}
