"""Unit roundoff, and the error that rounding alone may make of a backward stable method."""

from mssbench.records.cell import OF_FEATURES

# Of what is stored: half the distance from 1 to the next number.
STORED = {
    "float64": 2.0**-53,
    "float32": 2.0**-24,
    "tf32": 2.0**-24,
    "float16": 2.0**-11,
    "bfloat16": 2.0**-8,
}
ROUNDOFF = STORED | {"tf32": 2.0**-11}  # of what is computed: it rounds the factors of products
_STABLE = 4.0


def stable_error(column: str, function: str, precision: str, condition: float) -> float:
    """4 u κ^p, relative: p = 1/2 of the root of A, 1 of an inverse root and of any gradient.

    column: root_error, residual or gradient_error. Beyond κ = 1/u there is no digit left to lose;
    nan or infinite, as of a singular matrix, counts as that.
    """
    u = ROUNDOFF[precision]
    power = 0.5 if function in ("sqrt", OF_FEATURES) and column != "gradient_error" else 1.0
    return float(_STABLE * u * (condition if condition < 1 / u else 1 / u) ** power)
