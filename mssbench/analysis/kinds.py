"""Sort problems into kinds of matrices: easy, hard, singular, or with repeated eigenvalues.

The name of a problem (a generator of matrices) does not determine its kind: `convfeat` has a
condition number of 6e2 at n = 16 and of 1e11 at n = 64. So the kind follows from the measured
condition number κ, and from whether eigenvalues repeat. Tables of single problems show κ beside the
name, see `spectrum`.
"""

from collections.abc import Iterable, Mapping
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from mssbench.errors import MssbenchError
from mssbench.problems.text import parse
from mssbench.records.schema import CONDITION_SINCE

if TYPE_CHECKING:
    import pandas as pd

EASY, HARD, SINGULAR, REPEATED = "easy", "hard", "singular", "repeated"
ORDER = (EASY, HARD, SINGULAR, REPEATED)
# Below this condition an iteration of five to ten steps converges; above it the errors of methods
# begin to differ by orders of magnitude.
_EASY_CONDITION = 1e3
# If 1 / condition is below the unit roundoff, the smallest eigenvalues are lost to rounding.
# Precisions below float32 use the limit of float32, since only products are computed in them.
_SINGULAR_CONDITION = {"float64": 2.0**52}
_SINGULAR_IN_FLOAT32 = 2.0**23

# The columns of a table that identify the matrices of a row.
_NAMES_MATRICES = ("problem", "size", "precision", "seed")

# Relative error of a reference above which not even the first digit of a result can be checked.
DOUBTFUL = 0.1


class ProblemKind(NamedTuple):
    """The problems of one kind, among rows of one size, precision and phase."""

    name: str
    problems: tuple[str, ...]
    # The largest measured condition; None for singular matrices, whose condition is all rounding.
    condition: float | None
    doubt: float  # the largest error that the reference itself may have in this phase
    left_out: tuple[str, ...] = ()  # problems whose reference is in doubt, if others' are not
    spectra: tuple[str, ...] = ()  # spectra of the problems in `left_out`, see `spectrum`

    @property
    def heading(self) -> str:
        """The condition number as a column heading: `κ 42`, `κ 1e6`; empty for singular ones."""
        return "" if self.condition is None else f"κ {_short(self.condition)}"


class Spectrum(NamedTuple):
    """The range of the measured condition numbers κ of the matrices of some rows."""

    easiest: float  # smallest condition; infinite if singular to working precision
    hardest: float  # largest condition, likewise
    repeated: bool  # whether eigenvalues repeat

    def __str__(self) -> str:
        """Return, for example, `κ 42`, `κ 6e2 to 1e11`, `κ 100, repeated` or `singular`."""
        ends = [SINGULAR if x == inf else _short(x) for x in (self.easiest, self.hardest)]
        words = " to ".join(dict.fromkeys(ends))
        kappa = "" if self.easiest == inf else "κ "
        return f"{kappa}{words}{', repeated' if self.repeated else ''}"

    @property
    def data(self) -> dict[str, Any]:
        """The spectrum for JSON: `least` and `largest` condition, null if infinite, and more."""
        least, largest = (None if x == inf else x for x in (self.easiest, self.hardest))
        return {
            "least": least,
            "largest": largest,
            "singular": self.hardest == inf,
            "repeated": self.repeated,
        }


def is_own_file(problem: str) -> bool:
    """Whether the matrices of a problem come from a user's file, see problems/files.py."""
    return problem.startswith("file(")


def _short(condition: float) -> str:
    """Return a condition as a short text: `42`, `1e6`."""
    if condition < 1e3:
        return f"{condition:.0f}"
    digits, _, exponent = f"{condition:.0e}".partition("e")
    return f"{digits}e{int(exponent)}"


def kind_of(problem: str, condition: float, precision: str) -> str:
    """Return the name of the kind of a problem, one of ORDER.

    condition: its measured condition number; NaN if a matrix is exactly singular.
    """
    if _repeats(problem):
        return REPEATED
    if _is_singular(condition, precision):
        return SINGULAR
    return HARD if condition > _EASY_CONDITION else EASY


def _is_singular(condition: float, precision: str) -> bool:
    """Whether a matrix is singular to working precision. condition: NaN if exactly singular."""
    return not condition < _SINGULAR_CONDITION.get(precision, _SINGULAR_IN_FLOAT32)


def spectrum(rows: "pd.DataFrame") -> Spectrum | None:
    """Return the condition numbers of the matrices of some rows; None if no row was measured."""
    few = _measured(rows)[["problem", "precision", "condition"]].drop_duplicates()
    known = [
        inf if _is_singular(condition, str(precision)) else float(condition)
        for _, precision, condition in few.itertuples(index=False, name=None)
    ]
    if not known:
        return None
    return Spectrum(min(known), max(known), any(map(_repeats, few["problem"].unique())))


class Conditions:
    """The condition numbers of a table's matrices for JSON, cached by matrix."""

    def __init__(self, rows: "pd.DataFrame") -> None:
        self._rows = rows
        self._known: dict[tuple[Any, ...], dict[str, Any] | None] = {}  # cache by matrix

    def at(self, place: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return `Spectrum.data` of the rows with some values; None if none of them was measured.

        place: the values by column. Columns that do not identify a matrix are ignored.
        """
        key = tuple(place.get(name) for name in _NAMES_MATRICES)
        if key not in self._known:
            rows = self._rows
            for name, value in zip(_NAMES_MATRICES, key, strict=True):
                rows = rows if value is None else rows[rows[name] == value]
            measured = spectrum(rows)
            self._known[key] = measured.data if measured else None
        return self._known[key]


def _measured(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Return the rows whose condition is known.

    Tables of an older schema lack the column; in newer ones an empty field means a singular matrix.
    """
    known = rows["condition"].notna() | (rows["schema"].fillna(0) >= CONDITION_SINCE)
    return rows[rows["seconds_median"].notna() & known]


def named(found: Iterable[ProblemKind]) -> str:
    """Return kinds of matrix as words: `easy κ 42, hard κ 1e6 and singular matrices`."""
    words = [f"{kind.name} {kind.heading}".strip() for kind in found]
    head = ", ".join(words[:-1])
    return f"{head} and {words[-1]} matrices" if head else f"{words[-1]} matrices" if words else ""


def kinds(rows: "pd.DataFrame") -> dict[str, ProblemKind]:
    """Sort the problems of some rows, all of one size, precision and phase, into kinds.

    Returns the kinds by name, in ORDER. Problems without a measured row are left out, as their
    condition is unknown.
    """
    known = conditions(rows)
    doubts = rows.groupby("problem")["reference_error"].max().fillna(0.0)
    members: dict[str, list[str]] = {}
    for problem, condition in known.items():
        precision = str(rows["precision"].iloc[0])
        members.setdefault(kind_of(problem, condition, precision), []).append(problem)

    by_name = {}
    for name in (kind for kind in ORDER if kind in members):
        sure = [problem for problem in members[name] if doubts[problem] <= DOUBTFUL]
        counted = sure or members[name]
        largest = None if name == SINGULAR else max(known[problem] for problem in counted)
        doubt = max(float(doubts[problem]) for problem in counted)
        left_out = tuple(problem for problem in members[name] if problem not in counted)
        spectra = tuple(str(spectrum(rows[rows["problem"] == problem])) for problem in left_out)
        by_name[name] = ProblemKind(name, tuple(counted), largest, doubt, left_out, spectra)
    return by_name


def conditions(rows: "pd.DataFrame") -> dict[str, float]:
    """Return each measured problem's largest condition number; NaN if exactly singular."""
    largest = _measured(rows).groupby("problem", sort=False)["condition"].max()
    return {str(problem): float(condition) for problem, condition in largest.items()}


def by_problem(found: Mapping[str, ProblemKind]) -> dict[str, str]:
    """Return the name of the kind of each problem, including problems that are left out."""
    return {
        problem: kind.name
        for kind in found.values()
        for problem in (*kind.problems, *kind.left_out)
    }


def _repeats(problem: str) -> bool:
    """Whether the generator of a problem declares that its eigenvalues repeat.

    False for a problem of a plug-in that is not installed here.
    """
    try:
        return parse(problem)[0].generator.repeated
    except MssbenchError:
        return False
