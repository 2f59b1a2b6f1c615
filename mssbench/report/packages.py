"""The optional packages that figures need, and how to install those that are missing."""

from importlib.util import find_spec

from mssbench.errors import RunError

# The packages of the extra `report`, as they are imported.
_NEEDED = ("altair", "jinja2", "vl_convert")


def require() -> None:
    """Raise RunError, which says what to install, if a package that figures need is missing."""
    missing = [name.replace("_", "-") for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise RunError(
            f"figures need {' and '.join(missing)}: pip install 'mssbench[report]' (from a clone "
            "of mssbench: pip install -c .ci/constraints.txt '.[report]')."
        )
