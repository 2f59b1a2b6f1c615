"""The verified answer to a problem, for tests that name the problem by its text."""

from mssbench import problems
from mssbench.measure import verification
from mssbench.measure.truth import Truth


def truth_of(function: str, problem: str, size: int, batch: int, precision: str) -> Truth:
    """The truth about the first batch of a problem, as a cell of it is judged by."""
    made = problems.make(problem, size, batch, seed=0)
    a, g = (problems.cast(x, precision) for x in (made.master, made.cotangent))
    mark = verification.fingerprint(made.master, made.cotangent)
    return verification.truth_of(function, a, g, precision, mark)
