"""Read and check the [[claim]] tables of a suite of trainings.

    [[claim]]
    claim = "Networks train better with five Newton-Schulz steps than with the exact root."
    source = "Song et al., ICCV 2021; criterion: this project's"
    left = "forward == 'newton_schulz'"
    relation = ">"
    right = "forward == 'eigh' and backward == 'loewner'"

Each side selects the trainings of one method. A claim that cannot be measured with this project has
`cannot = "the reason"` in place of the sides.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import TYPE_CHECKING, Any

from mssbench.errors import SuiteError, unknown
from mssbench.records.measurement import Status
from mssbench.records.training import (
    MEAN,
    METHOD,
    SETTING,
    TRAINING_KEY,
    TRAININGS,
    TrainingCell,
)
from mssbench.records.training_values import MCE, OF_PROBES, OF_ROBUSTNESS, VALUES
from mssbench.results.conditions import rows_that_hold, select, why_empty
from mssbench.suite.claims import numbered

if TYPE_CHECKING:
    import pandas as pd

RELATIONS = ("<", "<=", ">", ">=")
RATES = ("all", "best")
ACCEPTED = (str(Status.NONFINITE),)  # statuses besides ok of trainings that have values
# The columns that a condition may contain, and whether each contains text.
_COLUMNS = {c.name: c.kind == "str" for c in TRAININGS if c.group == "key"}
_TEXTS = ("claim", "source", "value", "left", "relation", "where", "rates", "cannot")


@dataclass(frozen=True)
class TrainingClaim:
    """A checked [[claim]] table of a suite of trainings. Its fields are the keys of the table."""

    claim: str  # the statement, as a sentence
    source: str  # the publication, and whose criterion decides
    value: str = "accuracy"  # what is compared, one of `VALUES`
    left: str = ""  # condition over the key columns that selects the left side
    relation: str = ""  # one of < <= > >=
    right: str | float = ""  # condition that selects the right side, or a number
    margin: float = 0.0  # left - right is compared with it
    where: str = ""  # condition that the rows of both sides satisfy
    rates: str = "all"  # `all` learning rates that both sides have, or the `best` of each side
    accept: Sequence[str] = ()  # statuses besides ok whose rows count
    cannot: str = ""  # why this project cannot measure it

    def rows(self, side: str, frame: "pd.DataFrame") -> "pd.DataFrame":
        """Return the trainings of a side, `left` or `right`.

        Raises TableError, which names the key, for a condition that is wrong.
        """
        keys = frame[list(TRAINING_KEY)]
        if self.where:
            keys = select(keys, self.where, "where")
        return frame.loc[select(keys, getattr(self, side), side).index]

    @property
    def sides(self) -> list[str]:
        """The names of the sides that are conditions: `left`, and `right` unless it is a number."""
        return [name for name in ("left", "right") if isinstance(getattr(self, name), str)]


_KEYS = tuple(f.name for f in fields(TrainingClaim))


def read(tables: Any) -> list[TrainingClaim]:
    """Return the checked [[claim]] tables of a suite as claims.

    Raises SuiteError for the first mistake, with the number of its table and its key.
    """
    if not isinstance(tables, list):
        raise SuiteError("'claim' is a list of tables: write [[claim]].")

    claims = []
    for number, table in enumerate(tables, 1):
        with numbered(number):
            claims.append(_read(table))
    return claims


def check(
    tables: Any, cells: Sequence[TrainingCell], *, probes: bool = False, robustness: bool = False
) -> None:
    """Raise SuiteError for a claim that is wrong or that no training of the suite could decide.

    tables: the [[claim]] tables. cells: all trainings of the suite. probes, robustness: whether
    the suite measures these.
    """
    planned = [asdict(cell) for cell in cells]
    for number, claim in enumerate(read(tables), 1):
        if claim.cannot:
            continue
        with numbered(number):
            _check_measured(claim, planned, probes=probes, robustness=robustness)
            _check_sides(claim, planned)


def methods_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of the different methods of trainings, with the precision if that differs.

    rows: trainings, of which only the key columns are used.
    """
    cells = {
        tuple(row[name] for name in METHOD): TrainingCell(**{k: row[k] for k in TRAINING_KEY})
        for row in rows
    }
    several = len({cell.precision for cell in cells.values()}) > 1
    return [f"{c.method} {c.precision}" if several else c.method for c in cells.values()]


def one_method(side: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the name of the one method of a side. Raises SuiteError if there are several."""
    names = methods_of(rows)
    if len(names) > 1:
        raise SuiteError(
            f"{side} selects {len(names)} methods: {'; '.join(names)}. Narrow it to one of them, "
            "with and."
        )
    return names[0]


def one_setting(rows: Iterable[Mapping[str, Any]]) -> None:
    """Raise SuiteError if trainings, of which each side takes its best rate, differ otherwise.

    A rate that is the best for one task need not be the best for another.
    """
    rows = list(rows)
    for name in SETTING:
        if name != "learning_rate" and len({row[name] for row in rows}) > 1:
            raise SuiteError(
                f'rates = "best" takes the best rate of one setting: select one {name} by where.'
            )


def _check_measured(
    claim: TrainingClaim, planned: Sequence[Mapping[str, Any]], *, probes: bool, robustness: bool
) -> None:
    """Raise SuiteError if a suite does not measure the value of a claim."""
    for name, values, is_measured in (
        ("robustness", OF_ROBUSTNESS, robustness),
        ("probes", OF_PROBES, probes),
    ):
        if claim.value in values and not is_measured:
            raise SuiteError(f"value = {claim.value!r} needs {name} = true in [training].")
    of_mean = claim.value in (MCE, "epochs_to_first_order")
    if of_mean and all(row["forward"] != MEAN for row in planned):
        raise SuiteError(
            f"value = {claim.value!r} is relative to mean pooling: add a [[method]] with forward = "
            f'"{MEAN}".'
        )


def _check_sides(claim: TrainingClaim, planned: Sequence[Mapping[str, Any]]) -> None:
    """Raise SuiteError if a side selects no training, several methods, or nothing to compare."""
    if claim.where and not rows_that_hold(planned, claim.where, _COLUMNS, "where"):
        raise SuiteError(f"where selects no training.{why_empty(planned, claim.where)}")

    common: set[tuple[Any, ...]] = set()
    methods, selected = [], []
    for side in claim.sides:
        text = getattr(claim, side)
        rows = rows_that_hold(planned, text, _COLUMNS, side)
        if not rows:
            raise SuiteError(f"{side} selects no training.{why_empty(planned, text)}")
        if claim.where:
            rows = rows_that_hold(rows, claim.where, _COLUMNS, "where")
        if not rows:
            raise SuiteError(f"{side} and where together select no training.")
        one_method(side, rows)
        methods.append(tuple(rows[0][name] for name in METHOD))
        selected += rows
        shared = [name for name in SETTING if name != "learning_rate" or claim.rates == "all"]
        points = {tuple(row[name] for name in (*shared, "seed")) for row in rows}
        common = common & points if side == "right" else points
    if len(set(methods)) < len(methods):
        raise SuiteError("left and right select the same method.")
    if claim.rates == "best":
        one_setting(selected)
    if not common:
        raise SuiteError(
            "left and right share no seed of the same task, learning rate, epochs, batch, places, "
            "channels, policy and device."
        )


def _read(table: Any) -> TrainingClaim:
    """Return the claim in one [[claim]] table. Raises SuiteError for a wrong key or value."""
    if not isinstance(table, Mapping):
        raise SuiteError("it is not a table: write [[claim]].")
    for key in table:
        if key not in _KEYS:
            raise SuiteError(unknown("key", key, _KEYS))

    cannot = "cannot" in table
    for key in ("claim", "source", *(() if cannot else ("left", "relation", "right"))):
        if key not in table:
            raise SuiteError(
                f"no {key!r}. A claim has claim, source, and either left, relation, right or "
                "cannot."
            )
    if cannot and (others := [key for key in table if key not in ("claim", "source", "cannot")]):
        raise SuiteError(f"{others[0]!r} does not go with 'cannot'.")

    for key in _TEXTS:
        if key in table:
            _check_text(key, table[key])
    _check_word("value", table.get("value", "accuracy"), VALUES)
    _check_word("relation", table.get("relation", "<"), RELATIONS)
    _check_word("rates", table.get("rates", "all"), RATES)

    accept = table.get("accept", [])
    if not isinstance(accept, list | tuple):
        raise SuiteError(f'accept = {accept!r} is not a list: write accept = ["nonfinite"].')
    for status in accept:
        _check_word("status", status, ACCEPTED, "accept: ")

    if isinstance(table.get("right"), str):
        _check_text("right", table["right"])
    else:
        _check_number("right", table.get("right", 0.0), "a condition or a number")
    _check_number("margin", table.get("margin", 0.0), "a number")
    claim = TrainingClaim(**{**table, "accept": tuple(accept)})
    _check_conditions(claim)
    return claim


def _check_conditions(claim: TrainingClaim) -> None:
    """Raise SuiteError for a condition that is wrong, whatever the trainings are."""
    for key in ("where", *claim.sides):
        if text := getattr(claim, key):
            rows_that_hold([], text, _COLUMNS, key)


def _check_text(key: str, value: Any) -> None:
    if not isinstance(value, str) or not value.strip():
        raise SuiteError(f"{key} = {value!r} is not a text.")


def _check_word(kind: str, word: Any, known: Sequence[str], where: str = "") -> None:
    if word not in known:
        raise SuiteError(where + unknown(kind, word, known))


def _check_number(key: str, value: Any, kind: str) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not isfinite(value):
        raise SuiteError(f"{key} = {value!r} is not {kind}.")
