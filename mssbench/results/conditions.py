"""Conditions over the columns of a row, for `--where`, `--only` and claims.

    size > 32 and backward == 'none'

A condition is parsed with `ast` and converted to a function of one row; it is never executed as
Python code. It may contain comparisons, `and`, `or`, `not` and arithmetic. `in` tests membership of
a list, or whether a text contains another: `'logspec' in problem`. A missing value equals `None`
and no other value. All names are columns, and calls are not allowed.
"""

import ast
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import copysign, inf, nan
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from mssbench.errors import TableError, unknown
from mssbench.records.cell import CACHES, CLOCKS
from mssbench.records.measurement import Status
from mssbench.records.noise import Noise
from mssbench.records.roundoff import ROUNDOFF
from mssbench.results.labels import PHASES

if TYPE_CHECKING:
    import pandas as pd

Holds: TypeAlias = Callable[[Mapping[str, Any]], bool]  # whether a condition holds for a row
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


_MOST_NAMED = 10  # values of a column that a message lists; a table may have any number of them
_EXAMPLE = "Write one such as: size > 16 and precision == 'float32'"
# Columns with a fixed list of values. One of these that no row has is no misspelt word.
_LISTED = {
    "status": frozenset(str(status) for status in Status),
    "noise": frozenset(str(noise) for noise in Noise),
    "phase": frozenset(PHASES),
    "precision": frozenset(ROUNDOFF),
    "device": frozenset({"cpu", "cuda"}),
    "clock": frozenset(CLOCKS),
    "cache": frozenset(CACHES),
}
_SINGLE = re.compile(r"(?<![=!<>])=(?!=)")  # a single = that is no part of ==, !=, <= or >=
# Values of text columns. If one is written without quotes, the message says so.
_WORDS = frozenset({"none", "sqrt", "isqrt", "torch", "numpy", "cupy"}).union(*_LISTED.values())


class _Value(NamedTuple):
    """A number or a text in a condition: a column, a constant, or what is computed from them."""

    of: Callable[[Mapping[str, Any]], Any]  # returns its value in a row; None if it is missing
    name: str  # its description in messages
    is_text: bool
    is_column: bool = False  # whether it depends on the row
    is_none: bool = False


def read(condition: str, columns: Mapping[str, bool], source: str = "") -> Holds:
    """Check a condition and return a function that says whether it holds for a row.

    columns: the name of each column, and whether it contains text. A missing value in a row is
    None. source: the option or key that the condition comes from, with which messages begin.
    Raises TableError for a condition that is wrong; for an unknown column it names the nearest one.
    """
    quoted = f"{source} {condition!r}".lstrip()

    try:
        tree = ast.parse(condition.strip(), mode="eval")
        return _condition(tree.body, columns)
    except SyntaxError as error:
        why = "write == to compare" if _assigns(condition) else f"{error.msg}. {_EXAMPLE}"
        raise TableError(f"{quoted} is not an expression: {why}.") from None
    except (RecursionError, MemoryError, OverflowError, ValueError) as error:
        reason = error or type(error).__name__
        raise TableError(f"{quoted} cannot be evaluated: {reason}.") from None
    except TableError as error:
        raise TableError(f"{quoted}: {error}") from None


def _assigns(condition: str) -> bool:
    """Whether a condition has = where == is meant: with == it would be a valid expression."""
    try:
        ast.parse(_SINGLE.sub("==", condition.strip()), mode="eval")
    except (SyntaxError, ValueError):
        return False
    return _SINGLE.search(condition) is not None


def chosen(
    frame: "pd.DataFrame", condition: str, flag: str, *, none: str | None = None
) -> "pd.DataFrame":
    """Return the rows that a user selects with an option. At least one row must be left.

    frame: the rows, with labels if the condition may contain them. flag: the option, such as
    `--where`, with which messages begin. none: how the message describes an empty selection;
    by default "none of the 12 rows".

    Raises TableError for an invalid condition, and for an empty selection. If a text in the
    condition occurs in no row, the message about the empty selection names the nearest value.
    """
    kept = select(frame, condition, flag)
    if kept.empty:
        none = none or f"none of the {len(frame)} rows"
        raise TableError(f"{flag} {condition!r} leaves {none}.{why_empty(frame, condition)}")
    return kept


def select(frame: "pd.DataFrame", condition: str, source: str = "") -> "pd.DataFrame":
    """Return the rows of a frame for which a condition holds.

    source: as in `read`. Raises TableError for a condition that is wrong.
    """
    columns = {str(name): _holds_text(dtype) for name, dtype in frame.dtypes.items()}
    holds = read(condition, columns, source)

    used = [name for name in _names(condition) if name in columns]
    values = [_plain(frame[name]) for name in used]
    rows = zip(*values, strict=True) if used else ((),) * len(frame)
    return frame[[holds(dict(zip(used, row, strict=True))) for row in rows]]


def rows_that_hold(
    rows: Sequence[Mapping[str, Any]],
    condition: str,
    columns: Mapping[str, bool],
    source: str = "",
) -> list[Mapping[str, Any]]:
    """Return the rows, given as mappings, for which a condition holds.

    columns, source: as in `read`. Raises TableError for a condition that is wrong.
    """
    holds = read(condition, columns, source)
    return [row for row in rows if holds(row)]


def _holds_text(dtype: Any) -> bool:
    return str(dtype).startswith(("object", "str"))


def _plain(column: "pd.Series") -> list[Any]:
    """Return the values of a column, with None for missing values."""
    return list(column.astype(object).where(column.notna(), None))


def _names(condition: str) -> list[str]:
    """Return the names in a condition, sorted."""
    nodes = ast.walk(ast.parse(condition.strip(), mode="eval"))
    return sorted({node.id for node in nodes if isinstance(node, ast.Name)})


# Conditions


def _condition(node: ast.expr, columns: Mapping[str, bool]) -> Holds:
    """Return the function that says whether a parsed condition holds for a row.

    Raises TableError if the node is no condition, such as a number.
    """
    match node:
        case ast.BoolOp(op, parts):
            conditions = [_condition(part, columns) for part in parts]
            if isinstance(op, ast.And):
                return lambda row: all(holds(row) for holds in conditions)
            return lambda row: any(holds(row) for holds in conditions)
        case ast.UnaryOp(ast.Not(), operand):
            inner = _condition(operand, columns)
            return lambda row: not inner(row)
        case ast.Compare(left, ops, rights):
            # A chain such as 8 <= size < 64 is a conjunction of its links.
            values = [_operand(part, columns) for part in (left, *rights)]
            links = [_comparison(op, *two) for op, two in zip(ops, pairwise(values), strict=True)]
            return links[0] if len(links) == 1 else lambda row: all(holds(row) for holds in links)

    value = _operand(node, columns)
    raise TableError(f"{_called(value)} is no condition: compare it with something.")


def _comparison(op: ast.cmpop, a: "_Operand", b: "_Operand") -> Holds:
    """Return the function that says whether one comparison, `a op b`, holds for a row."""
    if isinstance(op, ast.In | ast.NotIn):
        inside = _membership(a, b)
        return inside if isinstance(op, ast.In) else lambda row: not inside(row)
    if type(op) not in _COMPARE:
        raise TableError("`is` is not allowed. Write == or !=.")

    equality = isinstance(op, ast.Eq | ast.NotEq)
    if equality and (_is_none(a) or _is_none(b)):
        return _missing(b if _is_none(a) else a, wanted=isinstance(op, ast.Eq))
    if isinstance(a, list) or isinstance(b, list):
        raise TableError("a list is compared by `in` only.")
    if a.is_none or b.is_none or a.is_text != b.is_text:
        raise _not_comparable(a, b)
    if not (a.is_column or b.is_column):
        raise TableError("a comparison needs a column on one side.")

    compare, if_missing = _COMPARE[type(op)], isinstance(op, ast.NotEq)

    def holds(row: Mapping[str, Any]) -> bool:
        x, y = a.of(row), b.of(row)
        return if_missing if x is None or y is None else bool(compare(x, y))

    return holds


def _not_comparable(a: _Value, b: _Value) -> TableError:
    """Return the error for a comparison of a number with a text, or of order with None."""
    remedy = "quote texts, as in 'cpu', and write numbers without quotes"
    if a.is_none or b.is_none:
        remedy = "compare with None by == or != only"
    return TableError(f"{_called(a)} and {_called(b)} cannot be compared: {remedy}.")


def _missing(value: "_Operand", *, wanted: bool) -> Holds:
    """Return the function for `column == None` (wanted), or for `column != None`."""
    column = _column(value)
    if column.is_text:  # a missing text may be stored as the empty text
        return lambda row: (column.of(row) in (None, "")) is wanted
    return lambda row: (column.of(row) is None) is wanted


def _membership(a: "_Operand", b: "_Operand") -> Holds:
    """Return the function for `column in [value, ...]`, or for `'part' in column`."""
    if isinstance(b, list):
        column = _column(a)
        for item in b:
            if not item.is_none and item.is_text != column.is_text:
                raise _not_comparable(column, item)
        known = {None if item.is_none else item.of({}) for item in b}
        if None in known and column.is_text:  # a missing text may be stored as the empty text
            known.add("")
        return lambda row: column.of(row) in known

    if not isinstance(a, list) and a.is_text and not a.is_column and b.is_column and b.is_text:
        part = a.of({})
        return lambda row: part in (b.of(row) or "")
    raise TableError("write COLUMN in [VALUE, VALUE], or 'part' in COLUMN.")


# Values

_Operand: TypeAlias = _Value | list[_Value]


def _operand(node: ast.expr, columns: Mapping[str, bool]) -> _Operand:
    """Return the number, text or list that a node of a condition stands for.

    Raises TableError for a node that is not allowed, such as a call.
    """
    match node:
        case ast.Name(name):
            if name not in columns:
                if name.lower() in _WORDS:
                    raise TableError(f"{name} is no column but a text: quote it, '{name}'.")
                raise TableError(unknown("column", name, columns))

            kind = "text" if columns[name] else "number"
            called = f"column {name!r} (a {kind})"
            return _Value(operator.itemgetter(name), called, columns[name], is_column=True)

        case ast.Constant(value) if value is None or isinstance(value, str | int | float):
            is_none = value is None
            return _Value(lambda _: value, repr(value), isinstance(value, str), is_none=is_none)
        case ast.List(items) | ast.Tuple(items):
            return [_constant(_operand(item, columns)) for item in items]
        case ast.UnaryOp(ast.USub(), operand):
            x = _number(_operand(operand, columns))
            return x._replace(of=lambda row: _computed(operator.neg, x.of(row)))
        case ast.BinOp(left, op, right) if type(op) in _COMPUTE:
            return _arithmetic(
                _COMPUTE[type(op)],
                _number(_operand(left, columns)),
                _number(_operand(right, columns)),
            )
        case ast.BoolOp() | ast.Compare() | ast.UnaryOp(ast.Not()):
            _condition(node, columns)  # mistakes inside it are reported first
            raise TableError("a condition is neither a number nor a text.")

    raise TableError(
        f"`{ast.unparse(node)}` is not allowed. "
        "Write comparisons of columns, joined by and, or, not."
    )


def _arithmetic(compute: Callable[[Any, Any], Any], a: _Value, b: _Value) -> _Value:
    """Return the result of an operation on two numbers; a constant if both are constants."""
    if not (a.is_column or b.is_column):
        try:
            result = compute(a.of({}), b.of({}))
        except ZeroDivisionError:
            raise TableError("it divides by zero.") from None
        return _Value(lambda _: result, repr(result), is_text=False)

    def of(row: Mapping[str, Any]) -> Any:
        return _computed(compute, a.of(row), b.of(row))

    names = {value.name for value in (a, b) if value.is_column}
    return _Value(of, names.pop() if len(names) == 1 else "a column", False, is_column=True)


def _computed(compute: Callable[..., Any], *values: Any) -> Any:
    """Return the result of one operation on the values of a row; None if one is missing."""
    if None in values:
        return None
    try:
        return compute(*values)
    except ZeroDivisionError:  # the result of IEEE 754 arithmetic
        return copysign(inf, values[0]) if values[0] else nan


_COMPUTE: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def _is_none(x: _Operand) -> bool:
    return not isinstance(x, list) and x.is_none


def _column(x: _Operand) -> _Value:
    if isinstance(x, list) or not x.is_column:
        raise TableError("a comparison needs a column on one side.")
    return x


def _constant(x: _Operand) -> _Value:
    if isinstance(x, list) or x.is_column:
        raise TableError("a list holds numbers and texts only.")
    return x


def _number(x: _Operand) -> _Value:
    if isinstance(x, list) or x.is_none or x.is_text:
        raise TableError(f"{_called(x)} is not a number.")
    return x


def _called(x: _Operand) -> str:
    """Return the description of an operand for messages."""
    return "a list" if isinstance(x, list) else x.name


# The constants in a condition


def compared(condition: str) -> Iterator[tuple[str, Any]]:
    """Yield (column, constant) of every `column == constant` and `column in [constant, ...]`."""
    for node in ast.walk(ast.parse(condition.strip(), mode="eval")):
        match node:
            case ast.Compare(ast.Name(name), [ast.Eq() | ast.NotEq()], [ast.Constant(value)]):
                yield name, value
            case ast.Compare(ast.Name(name), [ast.In() | ast.NotIn()], [ast.List() as many]):
                yield from ((name, item.value) for item in many.elts if hasattr(item, "value"))


def why_empty(rows: "pd.DataFrame | Sequence[Mapping[str, Any]]", condition: str) -> str:
    """Return a hint why a condition holds for no row: a part of it that holds for none.

    The hint is a sentence after a blank. It is about a text that no row has, or about a number that
    a column is compared with, and says which values there are. It is empty if each such part of the
    condition holds for some row.
    """
    for name, word in compared(condition):
        if not isinstance(word, str):
            continue
        values = _present(rows, name)
        if word not in values:
            if word in _LISTED.get(name, ()):
                return f" No row has the {name} {word!r}. Present: {_enumerated(values)}."
            return " " + unknown(name, word, map(str, values), _MOST_NAMED)

    for name, text in _limits(condition):
        values = _present(rows, name)
        holds = read(text, {name: False})
        if not any(holds({name: value}) for value in values):
            if not values:
                return f" No row has {name}."
            return f" Present values of {name}: {_enumerated(values)}."
    return ""


def _present(rows: "pd.DataFrame | Sequence[Mapping[str, Any]]", name: str) -> list[Any]:
    """Return the different values that rows have in a column, sorted, without missing ones."""
    column = [row[name] for row in rows] if isinstance(rows, Sequence) else _plain(rows[name])
    return sorted({value for value in column if value is not None})


def _enumerated(values: Sequence[Any]) -> str:
    """Return the values of a column as text: `16, 32`, or `8 to 512` if there are many."""
    texts = [str(x) if isinstance(x, str | int) else f"{x:.3g}" for x in values]
    if len(texts) > _MOST_NAMED and not isinstance(values[0], str):
        return f"{texts[0]} to {texts[-1]}"
    rest = len(texts) - _MOST_NAMED
    return ", ".join(texts[:_MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _limits(condition: str) -> Iterator[tuple[str, str]]:
    """Yield (column, comparison as text) of every comparison of one column with a number."""
    for node in ast.walk(ast.parse(condition.strip(), mode="eval")):
        match node:
            case ast.Compare(ast.Name(name), [_], [ast.Constant(int() | float())]):
                yield name, ast.unparse(node)
