"""Unit roundoff of each precision, and the error to expect of a backward stable method."""

from mssbench.records.cell import OF_FEATURES

# Unit roundoff u of the stored numbers: half the distance from 1 to the next larger number.
STORED = {
    "float64": 2.0**-53,
    "float32": 2.0**-24,
    "tf32": 2.0**-24,
    "float16": 2.0**-11,
    "bfloat16": 2.0**-8,
}
ROUNDOFF = STORED | {"tf32": 2.0**-11}  # of products: tf32 rounds their factors to 11 bits
_STABLE = 4.0  # factor over u κ^p that rounding in a backward stable method may add up to


def stable_error(column: str, function: str, precision: str, condition: float) -> float:
    """Return 4 u κ^p, the relative error to expect of a backward stable method.

    u is the unit roundoff of products in the precision, and κ the condition number of A. p is 1/2
    for the root of A, and 1 for an inverse root and for every gradient. column: root_error,
    residual or gradient_error. condition: κ, which is limited to 1/u, where all digits are lost;
    nan and infinity, as for a singular matrix, count as 1/u.
    """
    u = ROUNDOFF[precision]
    power = 0.5 if function in ("sqrt", OF_FEATURES) and column != "gradient_error" else 1.0
    return float(_STABLE * u * (condition if condition < 1 / u else 1 / u) ** power)
