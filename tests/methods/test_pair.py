"""The row kind `isqrt_b`: A^{-1/2} b of one vector, and its gradient."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.cells import CELL, FAST, rows

from mssbench.measure.inputs import Rotation
from mssbench.methods import pair as roots
from mssbench.methods.pair import Applied
from mssbench.problems.vectors import cotangent, vectors
from mssbench.records.measurement import Status
from mssbench.testing.matrices import cotangent as matrix
from mssbench.testing.matrices import exact_root, spectrum, with_spectrum

A = torch.tensor(with_spectrum(spectrum("condition_100", 5), batch=3))
G = torch.tensor(matrix((3, 5, 5)))


def applied(forward="eigh", backward="loewner", *parameters):
    return Applied(roots.pair("isqrt", forward, backward, parameters))


@pytest.mark.parametrize(
    "pair",
    [
        applied(),
        applied("eigh", "autodiff"),
        applied("newton_schulz", "autodiff", ("iterations", 20)),
    ],
    ids=["loewner", "autodiff", "iteration"],
)
def test_root_times_vector_and_its_gradient(pair):
    b, h = vectors(G)
    x = pair(A, b)
    assert torch.allclose(x, torch.tensor(exact_root(A.numpy(), "isqrt")) @ b, rtol=1e-11)
    leaf = A.clone().requires_grad_()
    (s,) = torch.autograd.grad(pair(leaf, b), leaf, h)
    change = 1e-6 * G
    slope = (h * (pair(A + change, b) - pair(A - change, b))).sum() / 2
    assert float((s * change).sum()) == pytest.approx(float(slope), rel=1e-6)


def test_the_cotangent_of_the_root_is_that_of_the_product():
    b, h = vectors(G)
    z = A.clone().requires_grad_()
    (g,) = torch.autograd.grad(z @ b, z, h)
    assert torch.allclose((g + g.mT) / 2, cotangent(b, h))


def test_vectors_move_with_their_matrices():
    b, h = vectors(G)
    for x in Rotation(A, G, 1).all:
        moved = vectors(x.g)
        assert torch.allclose(torch.as_tensor(x.restore(moved[0])), b)
        assert torch.equal(torch.as_tensor(x.restore(moved[1])), h)


def test_a_method_s_own_product_is_used_where_its_own_gradient_is():
    own = []

    def apply(a, b):
        own.append(b)
        return b

    plain = roots.pair("isqrt", "eigh", "autodiff")
    pair = Applied(replace(plain, forward=replace(plain.forward, apply=apply)))
    b = vectors(G)[0]
    assert pair(A, b) is b
    implicit = roots.pair("isqrt", "eigh", "loewner")
    pair = Applied(replace(implicit, forward=replace(implicit.forward, apply=apply)))
    assert pair(A, b) is not b
    assert len(own) == 1


@pytest.mark.parametrize(
    ("forward", "backward"), [("eigh", "none"), ("eigh", "loewner"), ("denman_beavers", "autodiff")]
)
def test_its_rows_are_measured_like_others(forward, backward):
    steps = 20 if forward == "denman_beavers" else None
    cell = replace(CELL, function="isqrt_b", forward=forward, backward=backward, iterations=steps)
    for m in rows(cell, FAST):
        found = m.row()
        assert m.status is Status.OK, m.reason
        assert found["root_error"] < 1e-12
        assert found["residual"] < 1e-12
        assert found["reference_error"] < 1e-12
        assert found["asymmetry"] is None
        assert found["products"] > 0
        if m.phase != "forward":
            assert found["gradient_error"] < 1e-11
            assert found["saved_bytes"] > 0


def test_a_wrong_product_is_seen(monkeypatch):
    monkeypatch.setattr(Applied, "__call__", lambda self, a, b: 1.5 * (self.pair(a) @ b))
    (m,) = rows(replace(CELL, function="isqrt_b"), FAST)
    assert m.status is Status.INACCURATE
    assert m.row()["root_error"] == pytest.approx(0.5)


def test_contour_integral_quadrature_is_measured_as_it_is_meant():
    pytest.importorskip("linear_operator")
    cell = replace(
        CELL,
        function="isqrt_b",
        forward="linear_operator_ciq",
        backward="autodiff",
        precision="float32",
        size=16,
    )
    for m in rows(cell, FAST):
        assert m.status is Status.OK, m.reason
        assert m.row()["root_error"] < 1e-2


def test_other_libraries_say_that_they_cannot():
    (m,) = rows(replace(CELL, function="isqrt_b", library="numpy"), FAST)
    assert m.status is Status.UNSUPPORTED
    assert m.reason == "isqrt_b is measured as autograd runs it: torch only"
    assert np.isnan(m.row()["seconds_median"] or np.nan)
