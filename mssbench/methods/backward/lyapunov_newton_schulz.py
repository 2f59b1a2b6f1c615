"""Gradient by the Newton–Schulz iteration for the matrix sign of a block matrix."""

from functools import partial

from mssbench.arrays import Array, dusted, eye_like, frobenius_norm, namespace
from mssbench.methods.backward.implicit import lyapunov_solver
from mssbench.methods.method import AUTO, Steps
from mssbench.methods.norms import power_of_four
from mssbench.methods.stopping import StoppingState


@lyapunov_solver(
    cite="Lin & Maji, Improved Bilinear Pooling with CNNs, BMVC 2017; "
    "Song, Sebe & Wang, Fast Differentiable Matrix Square Root, ICLR 2022",
    products=lambda iterations: 6.0 * max(iterations, 1) - 1,
)
def lyapunov_newton_schulz(y: Array, r: Array, *, iterations: Steps = 8) -> Array:
    """Lyapunov solve by Newton–Schulz: six products per step, no decomposition.

    B = Y / c, C = R / c;  k times: T = 3 I - B²,  C = (C T - B² C + B C B) / 2,  B = B T / 2;
    S = C / 2.  c = ‖Y²‖_F^{1/2}, which is ‖A‖_F^{1/2} and never below the largest eigenvalue of Y.

    y, r: (..., n, n), symmetric. iterations = k. The accuracy depends on k, however accurate the
    root is: in the eigenbasis the gradient is multiplied by (P(b_i) + P(b_j)) / 2, where P is the
    scalar iteration and b = d / c for eigenvalues d of Y. With "auto" each matrix stops when B² is
    I, see stopping.py, which costs one more product per step.
    """
    xp = namespace(y)
    eye = eye_like(y)

    p = power_of_four(y)  # scaled first, so that the norm of Y² neither overflows nor underflows
    b, s = y / p, r / p
    b2 = b @ b
    c = xp.sqrt(frobenius_norm(b2))
    c = xp.where(c > 0, c, 1.0)
    b, b2, s = b / c, b2 / (c * c), s / c

    if iterations == AUTO:
        return _settled(b, b2, s, eye) / 2
    for step in range(1, iterations + 1):
        t = 3 * eye - b2
        s = (s @ t - b2 @ s + b @ s @ b) / 2
        if step < iterations:
            b = dusted(b @ t / 2)
            b2 = b @ b
    return s / 2


def _settled(b: Array, b2: Array, s: Array, eye: Array) -> Array:
    """Return C after every matrix has stopped by its residual ‖(B² - I) B_0‖ / ‖B_0‖.

    B_0 is the first B, so that an eigenvalue b of it contributes b (1 - P(b)²) to the residual.
    """
    xp = namespace(b)
    first, norm = b, frobenius_norm(b)
    norm = xp.where(norm > 0, norm, 1.0)

    stop = StoppingState(b)
    while stop.goes_on:
        t = 3 * eye - b2
        new_s = (s @ t - b2 @ s + b @ s @ b) / 2
        if stop.is_last:
            new_b = new_b2 = b
        else:
            new_b = dusted(b @ t / 2)
            new_b2 = new_b @ new_b

        # Matrices that have stopped keep their values.
        moved = stop.moved(partial(_left, new_b2, first, norm))
        s = xp.where(moved, new_s, s)
        b, b2 = xp.where(moved, new_b, b), xp.where(moved, new_b2, b2)
    return s


def _left(b2: Array, first: Array, norm: Array) -> Array:
    return frobenius_norm(b2 @ first - first) / norm
