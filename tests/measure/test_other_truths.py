"""Cells of whitening and of the logarithm: what they are judged by, and what is refused."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.cells import CELL, rows

from mssbench.arrays import Array
from mssbench.measure.inputs import Rotation
from mssbench.methods.method import Root
from mssbench.records.measurement import Status
from mssbench.testing.matrices import cotangent, spectrum, with_spectrum

WHITEN = replace(CELL, function="whiten", problem="wishart(ratio=2)", size=8, batch=4)
LOG = replace(WHITEN, function="log")


@pytest.mark.parametrize(
    ("cell", "forward", "backward"),
    [
        (WHITEN, "cholesky", "autodiff"),
        (WHITEN, "eigh", "loewner"),
        (WHITEN, "svd", "autodiff"),
        (LOG, "log_eigh", "autodiff"),
        (LOG, "log_eigh_autodiff", "autodiff"),
    ],
)
@pytest.mark.parametrize("size", [8, 1])
def test_a_right_method_is_right_in_every_phase(
    cell: Any, forward: str, backward: str, size: int
) -> None:
    cell = replace(cell, forward=forward, size=size)
    (alone,) = rows(replace(cell, backward="none"))
    both = rows(replace(cell, backward=backward))
    assert [m.phase for m in both] == ["backward", "step"]
    for m in (alone, *both):
        assert m.status is Status.OK, m.reason
        row = m.row()
        assert row["root_error"] < 1e-12
        assert row["residual"] < 1e-12
        assert row["products"] > 0
        assert row["tail_weight"] is None or np.isnan(row["tail_weight"])
    assert both[1].row()["gradient_error"] < 1e-11


def test_methods_that_whiten_are_compared_by_what_they_make_of_a() -> None:
    """Two thirds of the entries of both differ, and each is right."""
    (cholesky,) = rows(replace(WHITEN, forward="cholesky", backward="none"))
    (eigh,) = rows(replace(WHITEN, forward="eigh", backward="none"))
    for m in (cholesky, eigh):
        assert m.row()["root_error"] == m.row()["residual"] < 1e-13


def test_a_ridge_whitens_the_changed_matrix() -> None:
    cell = replace(WHITEN, forward="eigh", backward="loewner", options="ridge=0.1")
    for m in rows(cell):
        assert (m.status, m.row()["root_error"] < 1e-13) == (Status.OK, True)
        assert m.row()["gradient_error"] < 1e-12


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"forward": "cholesky", "backward": "loewner"}, "it pairs with autodiff, not loewner"),
        ({"forward": "cholesky", "library": "numpy", "backward": "none"}, "no numpy version"),
        ({"library": "numpy", "forward": "eigh", "backward": "none"}, "torch only"),
        ({"forward": "eigh", "function": "log", "backward": "none"}, "does not compute log"),
        ({"forward": "cholesky", "function": "isqrt", "backward": "none"}, "function = whiten"),
        ({"forward": "log_eigh", "function": "sqrt", "backward": "none"}, "function = log"),
        ({"forward": "cholesky", "options": "ridge=0.1", "backward": "none"}, "ridge"),
        (
            {"forward": "cholesky", "problem": "wishart(ratio=0.5)", "backward": "none"},
            "no whitening exists",
        ),
        (
            {"forward": "eigh", "problem": "wishart(ratio=0.5)", "backward": "none"},
            "no inverse root exists",
        ),
        (
            {
                "forward": "log_eigh",
                "function": "log",
                "problem": "wishart(ratio=0.5)",
                "backward": "none",
            },
            "no logarithm exists",
        ),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_what_cannot_be_measured_says_why(change: dict[str, Any], reason: str) -> None:
    for m in rows(replace(WHITEN, **change)):
        assert m.status is Status.UNSUPPORTED
        assert reason in m.reason


def test_wrong_whitenings_and_logarithms_are_found(register: Any) -> None:
    """A scaled one, one that is half detached, and one that keeps its first answer."""
    kept: list[Array] = []

    def right(a: Array) -> Array:
        return torch.linalg.inv(torch.linalg.cholesky(a))

    def first(a: Array) -> Array:
        kept.append(right(a))
        return kept[0]

    def add(name: str, **given: Any) -> None:
        def method(a: Array) -> Root:
            raise AssertionError(a)

        method.__name__ = name
        register["forward"](cite="a test", products=lambda: 1.0, yields=(), **given)(method)

    add("scaled", whitens=lambda a: 1.5 * right(a))
    add("detached", whitens=lambda a: (right(a) + right(a).detach()) / 2)
    add("stale", whitens=first)
    add("shifted", takes_logarithm=lambda a: a - torch.eye(a.shape[-1], dtype=a.dtype))
    wrong = (Status.INACCURATE, Status.DIVERGED)
    for name in ("scaled", "detached", "stale"):
        step = rows(replace(WHITEN, forward=name, backward="autodiff"))[-1]
        assert step.status in (*wrong, Status.CRASHED), name
    (log,) = rows(replace(LOG, forward="shifted", backward="none"))
    assert log.status in wrong


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_inputs_of_a_triangular_factor_move_by_signs_and_come_back(precision: str) -> None:
    dtype = getattr(torch, precision)
    a = torch.tensor(with_spectrum(spectrum("near_one", 5), batch=4), dtype=dtype)
    g = torch.tensor(cotangent((4, 5, 5)), dtype=dtype)
    rotation = Rotation(a, g, seed=3, by_signs=True)
    right = torch.linalg.inv(torch.linalg.cholesky(a))
    contents = set()
    for x in rotation.all:
        contents.add(x.a.numpy().tobytes())
        assert (torch.as_tensor(x.restore(x.a)) == a).all()
        assert (torch.as_tensor(x.restore(x.g, [2, 0])) == g[[2, 0]]).all()
        moved = x.restore(torch.linalg.inv(torch.linalg.cholesky(x.a)))
        assert abs(torch.as_tensor(moved) - right).max() < (1e-5 if dtype.itemsize == 4 else 1e-14)
    assert len(contents) == len(rotation.all)
