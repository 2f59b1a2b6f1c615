"""Turn the table of a report into JSON that its page reads, small and safe inside HTML."""

import json
from collections.abc import Sequence
from math import isfinite, isnan
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def packed(table: "pd.DataFrame", numbers: Sequence[str], words: Sequence[str]) -> dict[str, Any]:
    """Return some columns of a table for JSON.

    A column of numbers is a list, in which missing numbers are None and infinite ones are "inf" or
    "-inf", since JSON has no infinity. A column of words is an object with the different `words`
    and, for each row, the number of its word in `codes`, so that long names are stored once.
    """
    import pandas as pd

    columns: dict[str, Any] = {}
    for name in numbers:
        values = pd.to_numeric(table[name], errors="coerce").astype("float64").tolist()
        columns[name] = [_short(x) if isfinite(x) else _not_finite(x) for x in values]
    for name in words:
        codes, distinct = pd.factorize(table[name].fillna("").astype(str))
        columns[name] = {"words": list(distinct), "codes": codes.tolist()}
    return columns


def _short(x: float) -> float | int:
    """Return a whole number as an int, whose JSON text is shorter by two characters."""
    return int(x) if x.is_integer() and abs(x) < 2**53 else x  # beyond it, floats skip integers


def _not_finite(x: float) -> str | None:
    """Return an infinite number as a word, and None for NaN, which stands for a missing one."""
    return None if isnan(x) else str(x)


def script_json(value: Any) -> str:
    """Return JSON that cannot end the script element of a page in which it stands.

    A method may have any name, such as `</script>`. The characters U+2028 and U+2029 end a line in
    older JavaScript. Raises ValueError for a number that is not finite.
    """
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    escapes: dict[str, str | int | None] = {
        "<": "\\u003c",
        "\u2028": "\\u2028",
        "\u2029": "\\u2029",
    }
    return as_utf8(text.translate(str.maketrans(escapes)))


def as_utf8(text: str) -> str:
    """Return a text that can be stored as UTF-8: what cannot becomes a question mark.

    Such characters are in the names of files that are not UTF-8, and may be in JSON.
    """
    return text.encode("utf-8", "replace").decode("utf-8")
