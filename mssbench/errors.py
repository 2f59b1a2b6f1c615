"""The exceptions, warnings and exit codes of mssbench.

* MssbenchError         the command line prints the message and exits with its code, 2 by default
  + SuiteError          a suite or an override is invalid, or asks for what does not exist
  + TableError          a result table cannot be read, or two tables cannot be joined
  + RunError            a run cannot start, e.g. its folder is in use or its device is missing
  + RegistryError       a method or problem is invalid, or its name is registered twice
    - UnknownName       no method or problem of that name is registered
  + GateError           a limit for `check` or `ab` cannot be read, or applies to nothing
  + NotComparable       two tables have nothing that can be compared; exit code 5
  + InputError          a matrix given to `sqrtm` or `isqrtm` has the wrong shape or type
* Unsupported           a method cannot compute what a cell asks for
* NotInstalled          a method needs an optional package that is missing
* Unavailable           a library is installed, but its device or driver is missing
* IndefiniteWarning     matrices of a checked batch have negative eigenvalues
* SingularWarning       the gradient of a checked singular matrix will be wrong

A cell is one combination of methods, problem, size and so on that a run measures. Unsupported,
NotInstalled and Unavailable do not end the run: they become the status of the cell's rows.
"""

import difflib
import heapq
from collections.abc import Iterable, Sequence
from enum import IntEnum
from os.path import commonprefix

# Words that difflib compares with a misspelt one. Each takes time in proportion to the product of
# the lengths; a long list is first reduced by the common prefix.
_LOOKED_AT = 200
_NEAREST = 8  # words of a long list that a message names: they fit on a line or two


class ExitCode(IntEnum):
    """The exit codes of the command line. A code means the same in every command."""

    PASS = 0
    FAILED = 1  # a regression was found, or a test of the harness itself failed
    MISUSE = 2  # wrong options, suite, table or method
    UNCLEAR = 3  # the measurements do not allow a decision
    BROKEN = 4  # rows failed that should have been measured, or are missing
    INCOMPARABLE = 5  # two tables have nothing that can be compared
    NOTHING_MEASURED = 6  # no row has a time
    INTERRUPTED = 130  # 128 + SIGINT, as shells report an interrupted process


class MssbenchError(Exception):
    """Base class of errors that the command line prints before it exits with `exit_code`."""

    exit_code = ExitCode.MISUSE


class SuiteError(MssbenchError):
    """A suite, or an override of it, is invalid, or asks for something that does not exist."""


class TableError(MssbenchError):
    """A result table cannot be read, or two tables cannot be joined."""


class RunError(MssbenchError):
    """A run cannot start, for example because its folder is in use or its device is missing."""


class RegistryError(MssbenchError):
    """A method or problem is invalid or unknown, or its name is registered twice."""


class UnknownName(RegistryError):  # noqa: N818
    """No method or problem of that name is registered."""


class GateError(MssbenchError):
    """A limit for `check` or `ab` cannot be read, or applies to nothing."""


class NotComparable(MssbenchError):  # noqa: N818
    """Two tables cannot be compared: other inputs, other machines, or no common row."""

    exit_code = ExitCode.INCOMPARABLE


class InputError(MssbenchError, ValueError):
    """A matrix given to a root function has the wrong shape or type, or a parameter is wrong."""


class Unsupported(Exception):  # noqa: N818  (an answer, not a failure)
    """The method cannot compute what the cell asks for; the message says why."""


class NotInstalled(Exception):  # noqa: N818
    """The package of a method is missing or cannot be imported; the message has the remedy."""


class Unavailable(Exception):  # noqa: N818
    """A library is installed, but its device or driver is missing; the message says which."""


class IndefiniteWarning(UserWarning):
    """Matrices given to a root function with `check=True` have negative eigenvalues."""


class SingularWarning(UserWarning):
    """Matrices given to a root function with `check=True` are singular.

    The gradient of the chosen pair is wrong for them; the message says in which way.
    """


# Words of other programs for names of ours. Their spelling is not close to the right name, so that
# difflib would suggest another one or none.
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
    """Return the known word that the user probably meant by `name`; None if no word is close.

    That is a word that other libraries call `name`, or else one that differs in a few letters.
    """
    known = sorted(known)
    if (meant := _SYNONYMS.get(name.lower())) in known:
        return meant
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    return near[0] if near else None


def unknown(what: str, name: object, known: Iterable[str], most: int = 30) -> str:
    """Return the message for an unknown word, with the nearest known one.

    what: what the word should be, such as "column". most: a list of at most so many known words is
    in the message in full; of a longer list only the words nearest to `name`.

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
    """Return a sentence with the nearest words of a long list.

    Only the words with the longest common prefix are compared letter by letter: for all of a long
    list that would take minutes.
    """
    candidates = heapq.nlargest(_LOOKED_AT, known, key=lambda word: len(commonprefix([word, name])))  # noqa: RUF071  (letters are meant)
    near = difflib.get_close_matches(name, candidates, n=_NEAREST, cutoff=0.0)
    first = f"Did you mean {near[0]!r}? " if nearest(name, near) else ""
    return f"{first}Nearest of {len(known):,}: {', '.join(near)}."
