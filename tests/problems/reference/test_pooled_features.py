"""Truths about pooled features: certified where A is regular, and known where it is singular."""

import mpmath as mp
import numpy as np
import pytest
from helpers.truths import truth_of

from mssbench import problems
from mssbench.problems.reference import singular, solve

DIGITS = 40


def in_many_digits(a, g, unit):
    """The root and the gradient of a: (n, n), without what lies between its null directions."""
    with mp.workdps(DIGITS):
        w, v = mp.eigsy(mp.matrix(a.tolist()))
        null = [x <= len(a) * unit * w[len(a) - 1] for x in w]
        d = [mp.mpf(0) if cut else mp.sqrt(x) for x, cut in zip(w, null, strict=True)]
        m = v.T * mp.matrix(g.tolist()) * v
        for i in range(len(d)):
            for j in range(len(d)):
                m[i, j] = 0 if null[i] and null[j] else m[i, j] / (d[i] + d[j])
        root, s = v * mp.diag(d) * v.T, v * m * v.T
        return (np.array(x.tolist(), dtype=float) for x in (root, s))


def error(x, y):
    return np.linalg.norm(x - y) / np.linalg.norm(y)


def test_more_positions_than_channels_are_certified_to_the_last_bit():
    p = problems.make("pooled_features(positions=64)", 12, 1, 0)
    found = solve.solve(p.master)
    s, bound = solve.gradient(found, "sqrt", p.cotangent)
    root, exact = in_many_digits(p.master[0], p.cotangent[0], 0.0)
    assert error(found.sqrt[0], root) <= found.error_sqrt < 2e-16
    assert error(s[0], exact) <= bound < 2e-16


@pytest.mark.parametrize(("precision", "unit"), [("float32", 2.0**-24), ("float64", 2.0**-53)])
def test_fewer_positions_than_channels_are_known_except_between_null_directions(precision, unit):
    p = problems.make("pooled_features(positions=9)", 12, 1, 0)
    a = problems.cast(p.master, precision)
    partial = singular.gradient(a, p.cotangent, unit)
    root, exact = in_many_digits(a[0], p.cotangent[0], unit)
    assert error(partial.gradient[0], exact) < 1e-10
    assert error(partial.gradient[0], exact) < partial.error < 0.1
    assert np.rint(np.trace(partial.null[0])) == 12 - 8
    assert error(solve.solve(a).sqrt[0], root) < 10 * unit**0.5  # of noise between null directions


def test_at_the_papers_operating_point_double_precision_is_judged_and_single_is_in_doubt():
    """256 channels at 196 positions: n u κ is 1e-10 and 0.2, and its root is what is not known."""
    double = truth_of("sqrt", "pooled_features(positions=196)", 256, 2, "float64")
    assert double.can_judge("step", 1e-3)
    single = truth_of("sqrt", "pooled_features(positions=196)", 256, 2, "float32")
    assert single.can_judge("forward", 1e-3)
    assert not single.can_judge("step", 0.1)
    few = truth_of("sqrt", "pooled_features(positions=49)", 256, 2, "float32")
    assert few.can_judge("step", 0.1)


@pytest.mark.slow
def test_512_channels_are_certified():
    p = problems.make("pooled_features(positions=784)", 512, 1, 0)
    found = solve.solve(p.master, want_isqrt=False)
    assert not found.singular.any()
    assert found.error_sqrt < 2e-16
    s, bound = solve.gradient(found, "sqrt", p.cotangent)
    assert bound < 2e-16
    y = found.sqrt[0]
    assert error(y @ s[0] + s[0] @ y, p.cotangent[0]) < 1e-12
