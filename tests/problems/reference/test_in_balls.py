"""The bounds of the reference against proven enclosures in ball arithmetic (Arb, python-flint).

mpmath judges the reference in test_solve.py with 50 digits, which are more than enough as far as
anybody knows. Here nothing is taken on trust: each number is an interval that contains the truth.
The root is enclosed as follows.

Let A be symmetric, X symmetric positive definite, and R = X² - A. If ‖R‖ < λ_min(X)², A is positive
definite, since λ_min(A) >= λ_min(X²) - ‖R‖ by Weyl's inequality. Let Y be its root and D = X - Y.
Then X D + D Y = X² - X Y + X Y - Y² = R. In the eigenvectors of X (from the left) and of Y (from
the right) this reads (x_i + y_j) d_ij = r_ij, and orthogonal factors leave the Frobenius norm
alone. So

    ‖X - A^{1/2}‖_F <= ‖R‖_F / (λ_min(X) + λ_min(Y)) <= ‖R‖_F / λ_min(X).

This is the inequality of van Hemmen and Ando, An inequality for trace ideals, Commun. Math. Phys.
76 (1980), in the Frobenius norm. X is positive definite if its leading minors are positive
(Sylvester's criterion), and λ_min(X) >= 1 / ‖X^{-1}‖_F. X itself may come from anywhere; it is
computed by the iteration of Denman and Beavers in 400 bits, and each step is replaced by the
midpoints of its balls, so that X is exact.

On one core, root and proof took 5 ms at size 8 and 0.2 s at size 32. The 50 digits of mpmath, with
both roots and both gradients, took 19 ms and 0.9 s. A gradient in balls solves a system of n²
unknowns, which takes 25 ms at size 8 and is why larger sizes are left to mpmath.
"""

import flint
import numpy as np
import pytest

from mssbench import problems
from mssbench.problems.reference import solve

BITS = 400  # of the midpoints: enough for a condition of 1e14 and 80 digits of the root
CONDITIONS = ["1e1", "1e3", "1e6", "1e9", "1e12"]


@pytest.fixture(autouse=True)
def bits():
    before, flint.ctx.prec = flint.ctx.prec, BITS
    yield
    flint.ctx.prec = before


def exact(x):
    """A float64 matrix as balls of radius zero: each float64 is a number of BITS bits."""
    return flint.arb_mat(x.tolist())


def norm(x):
    """The Frobenius norm. A sum of squares is not negative, whatever its ball contains."""
    return sum((y * y for y in x.entries()), flint.arb(0)).nonnegative_part().sqrt()


def half_of_both(x, y):
    """(X + Y) / 2 without radius: its midpoints."""
    return ((x + y) / 2).mid()


def identity(n):
    return exact(np.eye(n))


def near_root(a):
    """A symmetric matrix close to the root of A, by Denman and Beavers: Y, Z -> A^{1/2}, A^{-1/2}.

    Nothing is proven about it. The iteration ends when it does not move any more.
    """
    y, z = a, identity(a.nrows())
    for _ in range(60):
        y, z, last = half_of_both(y, z.inv()), half_of_both(z, y.inv()), y
        if norm(y - last) < norm(y) * flint.arb(2) ** (-BITS // 2):
            break
    return half_of_both(y, y.transpose())


def is_positive_definite(x):
    """Whether it is proven to be, by Sylvester's criterion. x: symmetric."""
    rows = x.tolist()
    leading = (flint.arb_mat([row[:k] for row in rows[:k]]) for k in range(1, len(rows) + 1))
    return all(minor.det() > 0 for minor in leading)


def root(a):
    """Balls that contain the entries of the root of A. a: symmetric, exact.

    Raises ValueError where the proof fails.
    """
    x = near_root(a)
    if x != x.transpose() or not is_positive_definite(x):
        raise ValueError("X is not proven to be symmetric and positive definite")
    least = 1 / norm(x.inv())  # not above the smallest eigenvalue of X
    residual = norm(x * x - a)
    if not residual < least * least:
        raise ValueError("A is not proven to be positive definite")
    radius = (residual / least).upper()
    return flint.arb_mat([[y + flint.arb(0, radius) for y in row] for row in x.tolist()])


def lyapunov(y, r):
    """Balls that contain S with Y S + S Y = R, by the Kronecker sum. y, r: (n, n)."""
    n = y.nrows()
    one, rows = identity(n).tolist(), y.tolist()
    sums = [
        [rows[i][k] * one[j][m] + one[i][k] * rows[j][m] for k in range(n) for m in range(n)]
        for i in range(n)
        for j in range(n)
    ]
    s = flint.arb_mat(sums).solve(flint.arb_mat(n * n, 1, r.entries())).entries()
    return flint.arb_mat(n, n, s)


def largest_error(x, truth):
    """A relative error that no matrix in the balls of `truth` exceeds. x: float64."""
    return (norm(exact(x) - truth) / norm(truth)).upper()


def enclosed(condition, size):
    p = problems.make(f"logspec({condition})", size, 1, 0)
    return p.master[0], p.cotangent[0], root(exact(p.master[0]))


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("size", [3, 5, 8])
def test_the_bounds_of_the_reference_are_proven(size, condition):
    a, g, y = enclosed(condition, size)
    z = y.inv()
    known = {
        "sqrt": lyapunov(y, exact(g)),
        "isqrt": lyapunov(y, -(z * exact(g) * z)),
    }
    found = solve.solve(a[None])
    assert largest_error(found.sqrt[0], y) <= found.error_sqrt <= 1.5e-16
    assert largest_error(found.isqrt[0], z) <= found.error_isqrt <= 1.5e-16
    for function, truth in known.items():
        s, bound = solve.gradient(found, function, g[None])
        assert largest_error(s[0], truth) <= bound <= 1.5e-16


@pytest.mark.parametrize("condition", ["1e13", "1e14", "1e15"])
def test_the_bound_is_proven_where_the_matrix_counts_as_singular(condition):
    a, _, y = enclosed(condition, 6)
    found = solve.solve(a[None])
    assert largest_error(found.sqrt[0], y) <= found.error_sqrt


def test_an_enclosure_contains_a_root_that_is_known():
    y = np.array([[2.0, 1, 0], [1, 3, 1], [0, 1, 4]])
    found = root(exact(y @ y))
    assert found.contains(exact(y))
    assert not found.contains(exact(y + 1e-15))
    assert max(entry.rad() for entry in found.entries()) < 1e-80


def test_the_enclosure_is_as_narrow_as_its_precision_allows():
    _, _, y = enclosed("1e12", 8)
    assert max(entry.rad() for entry in y.entries()) < 1e-40 * norm(y)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        pytest.param(lambda x: -x, "symmetric and", id="the-negative-root"),
        pytest.param(lambda x: x / 2, "A is not", id="half-of-the-root"),
        pytest.param(
            lambda x: x + exact(np.eye(4, k=1) / 1e9), "symmetric and", id="not-symmetric"
        ),
    ],
)
def test_what_is_no_root_is_not_enclosed(wrong, message, monkeypatch):
    a = exact(problems.make("logspec(1e3)", 4, 1, 0).master[0])
    x = near_root(a)
    monkeypatch.setitem(globals(), "near_root", lambda _: wrong(x))
    with pytest.raises(ValueError, match=message):
        root(a)


@pytest.mark.parametrize("size_of_error", [1e-3, 1e-9, 1e-25])
def test_balls_around_a_rough_root_are_wide_enough(size_of_error, monkeypatch):
    a = exact(problems.make("logspec(1e1)", 4, 1, 0).master[0])
    x = near_root(a)
    off = exact(np.full((4, 4), size_of_error))
    monkeypatch.setitem(globals(), "near_root", lambda _: x + off)
    found = root(a)
    assert found.contains(x)
    assert all(entry.rad() < 100 * size_of_error for entry in found.entries())
