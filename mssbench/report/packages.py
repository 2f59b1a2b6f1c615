"""The optional packages that figures need, and how to install those that are missing."""

from importlib.util import find_spec

from mssbench.errors import RunError

# The packages of the extra `report`, as they are imported.
_NEEDED = ("altair", "jinja2", "vl_convert")


def require() -> None:
    """Raise RunError, which says what to install, if a package that figures need is missing."""
    missing = [name.replace("_", "-") for name in _NEEDED if find_spec(name) is None]
    if missing:
        *others, last = missing
        named = f"{', '.join(others)} and {last}" if others else last
        raise RunError(
            f"figures need {named}: pip install -c .ci/constraints.txt '.[report]' in a clone of "
            "mssbench (or, once it is on PyPI: pip install 'mssbench[report]')."
        )
