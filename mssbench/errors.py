"""Every error a user can cause or a method can answer with.

* MssbenchError         the command line prints the message and exits with its code, 2
  + SuiteError          a suite or an override asks for something that does not exist
  + TableError          a result table cannot be read, or two cannot be joined
  + RunError            a run cannot start: its folder is taken, its device is not there
  + RegistryError       a method or problem is wrong, or two claim one name
    - UnknownName       nobody has registered a method or problem of that name
  + GateError           a limit for `check` or `ab` cannot be read, or limits nothing
  + NotComparable       two tables that say nothing about each other: exit code 5
  + InputError          a matrix handed to `sqrtm` or `isqrtm` has the wrong shape or type
* Unsupported           a method cannot do what the cell asks: a row, not a stop
* NotInstalled          the optional package behind it is missing: a row, not a stop
* Unavailable           installed, but its device or driver is not there: a row, not a stop
* IndefiniteWarning     how many matrices of a checked batch have negative eigenvalues
* SingularWarning       that the gradient of a checked singular matrix will be wrong
"""

import difflib
import heapq
from collections.abc import Iterable, Sequence
from enum import IntEnum
from os.path import commonprefix

_LOOKED_AT = 200  # of many words, letter by letter
_NEAREST = 8  # words of a long list that are named: they fit on a line or two


class ExitCode(IntEnum):
    """The exit codes of the command line. A code means the same in every command."""

    PASS = 0
    FAILED = 1  # a regression, or a check of the harness that failed
    MISUSE = 2
    UNCLEAR = 3
    BROKEN = 4  # rows broke, or are gone
    INCOMPARABLE = 5
    NOTHING_MEASURED = 6
    INTERRUPTED = 130  # 128 + SIGINT, as shells report an interrupted process


class MssbenchError(Exception):
    """Base class. The command line prints the message and exits with `exit_code`."""

    exit_code = ExitCode.MISUSE


class SuiteError(MssbenchError):
    """A suite, or an override of it, asks for something that does not exist."""


class TableError(MssbenchError):
    """A result table cannot be read, or two cannot be joined."""


class RunError(MssbenchError):
    """A run cannot start: its folder is taken or its device is not there."""


class RegistryError(MssbenchError):
    """A method or problem is wrong or unknown, or two claim one name."""


class UnknownName(RegistryError):  # noqa: N818
    """Nobody has registered a method or problem of that name."""


class GateError(MssbenchError):
    """A limit for `check` or `ab` cannot be read, or limits nothing."""


class NotComparable(MssbenchError):  # noqa: N818
    """Two tables say nothing about each other: other inputs or machines, or no common row."""

    exit_code = ExitCode.INCOMPARABLE


class InputError(MssbenchError, ValueError):
    """A matrix handed to a root function has the wrong shape, type or parameters."""


class Unsupported(Exception):  # noqa: N818  (an answer, not a failure)
    """The method cannot do what the cell asks; the message says why."""


class NotInstalled(Exception):  # noqa: N818
    """The package behind a method is missing or fails to import; the message has the remedy."""


class Unavailable(Exception):  # noqa: N818
    """Installed, but its device or driver is not there; the message says which."""


class IndefiniteWarning(UserWarning):
    """Matrices handed to a root function with `check=True` have negative eigenvalues."""


class SingularWarning(UserWarning):
    """Matrices handed to a root function with `check=True` are singular.

    The pair that was named has a wrong gradient for them; the message says what is wrong with it.
    """


# Words that are said elsewhere for one of ours; by their letters they resemble another or none.
_SYNONYMS = {
    "double": "float64",
    "fp64": "float64",
    "f64": "float64",
    "single": "float32",
    "fp32": "float32",
    "f32": "float32",
    "half": "float16",
    "fp16": "float16",
    "f16": "float16",
    "bf16": "bfloat16",
    "gpu": "cuda",
    "time": "seconds_median",
    "seconds": "seconds_median",
    "forwards": "backends",
    "methods": "backends",
}


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known word that means `name` or is closest to it, or None where nothing is close."""
    known = sorted(known)
    if (meant := _SYNONYMS.get(name.lower())) in known:
        return meant
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    return near[0] if near else None


def unknown(what: str, name: object, known: Iterable[str], most: int = 30) -> str:
    """The sentence for a word that is not known, with the nearest one that is.

    most: how many known words are named in full; of a longer list only the nearest are.

    >>> unknown("forward", "eig", ["eigh", "svd"])
    "Unknown forward 'eig'. Did you mean 'eigh'? Known: eigh, svd."
    """
    known = sorted(known)
    if len(known) > most:
        return f"Unknown {what} {name!r}. {_nearest_of_many(str(name), known)}"
    near = nearest(str(name), known)
    hint = f" Did you mean {near!r}?" if near else ""
    return f"Unknown {what} {name!r}.{hint} Known: {', '.join(known)}."


def _nearest_of_many(name: str, known: Sequence[str]) -> str:
    """The words that begin as `name` does for longest. A closer look at many would take minutes."""
    begin = heapq.nlargest(_LOOKED_AT, known, key=lambda word: len(commonprefix([word, name])))  # noqa: RUF071  (letters are meant)
    near = difflib.get_close_matches(name, begin, n=_NEAREST, cutoff=0.0)
    first = f"Did you mean {near[0]!r}? " if nearest(name, near) else ""
    return f"{first}Nearest of {len(known):,}: {', '.join(near)}."
