"""Conditions over columns, as `--where` and `--only` take them: read with `ast`, never executed."""

import ast
import operator
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pandas as pd

from mssbench.errors import TableError, unknown

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le,
    ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip
_COMPUTE: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip


def select(frame: pd.DataFrame, expression: str) -> pd.DataFrame:
    """The rows for which an expression over the columns holds: `size > 32 and backward == 'none'`.

    Comparisons, and, or, not, arithmetic; `in` a list, or of a text: `'logspec' in problem`. What
    is missing equals `None` and nothing else. Names are columns and nothing else: an expression
    cannot call, so it can only read. Raises TableError with the nearest column, or what is wrong.
    """
    where = repr(expression)
    try:
        tree = ast.parse(expression.strip(), mode="eval")
        chosen = _condition(_evaluate(tree.body, frame))
    except SyntaxError as error:
        raise TableError(f"{where} is not an expression: {error.msg}.") from None
    except (RecursionError, MemoryError, OverflowError, ValueError) as error:
        raise TableError(f"{where} cannot be evaluated: {error or type(error).__name__}.") from None
    except TableError as error:
        raise TableError(f"{where}: {error}") from None
    return frame[chosen]


def _evaluate(node: ast.expr, frame: pd.DataFrame) -> Any:
    """A column, a number, a text, a list of constants, or a column of truth values."""
    match node:
        case ast.Name(name):
            if name not in frame:
                raise TableError(unknown("column", name, frame.columns))
            return frame[name]
        case ast.Constant(value) if value is None or isinstance(value, str | int | float):
            return value
        case ast.List(items) | ast.Tuple(items):
            return [_constant(_evaluate(each, frame)) for each in items]
        case ast.BoolOp(op, parts):
            first, *others = (_condition(_evaluate(each, frame)) for each in parts)
            for each in others:
                first = first & each if isinstance(op, ast.And) else first | each
            return first
        case ast.UnaryOp(ast.Not(), operand):
            return ~_condition(_evaluate(operand, frame))
        case ast.UnaryOp(ast.USub(), operand):
            return -_number(_evaluate(operand, frame))
        case ast.BinOp(left, op, right) if type(op) in _COMPUTE:
            a, b = _number(_evaluate(left, frame)), _number(_evaluate(right, frame))
            try:
                return _COMPUTE[type(op)](a, b)
            except ZeroDivisionError:
                raise TableError("it divides by zero.") from None
        case ast.Compare(left, ops, rights):
            values = [_evaluate(each, frame) for each in (left, *rights)]
            links = zip(ops, pairwise(values), strict=True)
            first, *others = (_compare(op, a, b) for op, (a, b) in links)
            for each in others:
                first = first & each
            return first
    raise TableError(
        f"{type(node).__name__} is not allowed. "
        "Write comparisons of columns, joined by and, or, not."
    )


def _compare(op: ast.cmpop, a: Any, b: Any) -> pd.Series:
    """A column of truth values without gaps."""
    if isinstance(op, ast.In | ast.NotIn):
        found = _within(a, b)
        return ~found if isinstance(op, ast.NotIn) else found
    if type(op) not in _COMPARE:
        raise TableError("`is` is not allowed. Write == or !=.")
    equality = isinstance(op, ast.Eq | ast.NotEq)
    if equality and (a is None or b is None):
        column = _column(b if a is None else a)
        missing = (column == "") if _is_text(column) else column.isna()
        return missing if isinstance(op, ast.Eq) else ~missing
    if isinstance(a, list) or isinstance(b, list):
        raise TableError("a list is compared by `in` only.")
    if a is None or b is None or _is_text(a) != _is_text(b):
        raise TableError(f"{_called(a)} and {_called(b)} do not compare.")
    result = _COMPARE[type(op)](a, b)
    if not isinstance(result, pd.Series):
        raise TableError("a comparison needs a column on one side.")
    return result.fillna(isinstance(op, ast.NotEq)).astype(bool)


def _within(a: Any, b: Any) -> pd.Series:
    if isinstance(b, list):
        column = _column(a)
        for each in b:
            if each is not None and _is_text(each) != _is_text(column):
                raise TableError(f"{_called(column)} and {_called(each)} do not compare.")
        return column.isin(b).fillna(False).astype(bool)
    if isinstance(a, str) and isinstance(b, pd.Series) and _is_text(b):
        return b.str.contains(a, regex=False).fillna(False).astype(bool)
    raise TableError("write COLUMN in [VALUE, VALUE], or 'part' in COLUMN.")


def _column(x: Any) -> pd.Series:
    if not isinstance(x, pd.Series):
        raise TableError("a comparison needs a column on one side.")
    return x


def _condition(x: Any) -> pd.Series:
    if not isinstance(x, pd.Series) or x.dtype != bool:
        raise TableError(f"{_called(x)} is no condition: compare it with something.")
    return x


def _constant(x: Any) -> Any:
    if isinstance(x, pd.Series | list):
        raise TableError("a list holds numbers and texts only.")
    return x


def _number(x: Any) -> Any:
    if x is None or isinstance(x, list) or _is_text(x):
        raise TableError(f"{_called(x)} is not a number.")
    return x


def _is_text(x: Any) -> bool:
    return isinstance(x, str) or (isinstance(x, pd.Series) and pd.api.types.is_string_dtype(x))


def _called(x: Any) -> str:
    if isinstance(x, pd.Series):
        kind = "text" if _is_text(x) else "number"
        return f"column {x.name!r} (a {kind})" if x.name else "a column"
    return "a list" if isinstance(x, list) else repr(x)


def compared(expression: str) -> Iterator[tuple[str, Any]]:
    """(column, constant) of every `column == constant` and `column in [constant, ...]`."""
    for node in ast.walk(ast.parse(expression.strip(), mode="eval")):
        match node:
            case ast.Compare(ast.Name(name), [ast.Eq() | ast.NotEq()], [ast.Constant(value)]):
                yield name, value
            case ast.Compare(ast.Name(name), [ast.In() | ast.NotIn()], [ast.List() as many]):
                yield from ((name, each.value) for each in many.elts if hasattr(each, "value"))


def why_empty(frame: pd.DataFrame, expression: str) -> str:
    """For an expression that leaves no row: the text it compares that no row has, if any."""
    for name, word in compared(expression):
        if isinstance(word, str) and word not in (values := frame[name].unique().tolist()):
            return " " + unknown(name, word, values)
    return ""
