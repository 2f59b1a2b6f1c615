"""Commands that need optional packages: how to get those that are missing."""

from importlib.util import find_spec

from mssbench.errors import RunError


def needs(*packages: str, extra: str = "report") -> None:
    """Do nothing if these packages are installed. Raises RunError, with the remedy, if not.

    packages: names as they are imported. extra: the extra of mssbench that installs them.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        names = " and ".join(name.replace("_", "-") for name in missing)
        raise RunError(
            f"figures need {names}: pip install 'mssbench[{extra}]' (from a clone of mssbench: "
            f"pip install -c .ci/constraints.txt '.[{extra}]')."
        )
