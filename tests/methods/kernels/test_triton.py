"""Triton's kernel without a GPU: interpreted for its numbers, compiled for what it takes of one."""

import json
import subprocess
import sys
from typing import Any

import pytest
import torch
from helpers.root import TESTS

import mssbench
from mssbench.errors import InputError, Unsupported
from mssbench.methods.kernels import triton_roots
from mssbench.methods.kernels.triton_roots import SHAPES, Shape
from mssbench.methods.minimax import taylor

pytest.importorskip("triton", reason="pip install triton")
MOST_SHARED = 227 * 1024  # bytes of a block on sm_90


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "helpers.interpreted"],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=TESTS,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.mark.slow
def test_its_roots_are_right(found: dict[str, Any]) -> None:
    """The interpreter rounds no operands: what is seen here is the algorithm."""
    tried = {k: v for k, v in found.items() if k.startswith(("sqrt", "isqrt"))}
    assert len(tried) == 2 * 5 * 2
    for name, worst in tried.items():
        word, _, condition = name.split()
        limit = {"10": 1e-6, "10000": 2e-5}[condition] * (10 if word == "isqrt" else 1)
        assert worst < limit, name
    assert found["asymmetry"] == 0


@pytest.mark.slow
def test_what_else_it_promises(found: dict[str, Any]) -> None:
    for norm in ("trace", "frobenius", "min_ws_minc"):
        assert found[f"norm {norm}"] < 1e-6
    assert 1e-5 < found["tf32"] < 1e-2
    assert 1e-3 < found["bfloat16"] < 0.1  # operands of 8 bits, and their honest error
    assert found["alone"] is found["neighbours"] is found["zero"] is True
    assert found["empty"] == [0, 20, 20]


@pytest.mark.sampled(1, slow=0)
@pytest.mark.parametrize("square", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("operands", "shape"),
    [pytest.param(o, s, id=f"{o}-n{s.size}") for o, shapes in SHAPES.items() for s in shapes],
)
def test_nothing_spills_on_hopper(shape: Shape, square: bool, operands: str) -> None:
    from mssbench.methods.kernels.resources import compile_triton

    factors = ((taylor(5) if square else taylor(3)),) * 4
    taken = compile_triton(shape, factors, operands, 90)  # type: ignore[arg-type]
    assert (taken.stack, taken.spilled) == (0, 0)
    assert taken.shared_bytes <= MOST_SHARED


@pytest.mark.sampled(1)
@pytest.mark.parametrize("arch", [80, 100, 120])
def test_it_compiles_for(arch: int) -> None:
    from mssbench.methods.kernels.resources import compile_triton

    shape = SHAPES["tf32x3"][-1]
    assert compile_triton(shape, (taylor(5),) * 4, "tf32x3", arch).spilled == 0


@pytest.mark.parametrize(
    ("n", "dtype", "degree", "why"),
    [
        (33, torch.float32, 5, "tf32x3 holds matrices of n <= 32: n is 33"),
        (8, torch.float64, 5, "not float64"),
        (8, torch.float32, 9, "degree 3 and 5"),
    ],
)
def test_what_it_does_not_serve_is_refused(
    n: int, dtype: torch.dtype, degree: int, why: str
) -> None:
    a = torch.eye(n, dtype=dtype)[None]
    with pytest.raises(Unsupported, match=why):
        triton_roots.iterate(a, (taylor(degree),), "trace", frozenset(["sqrt"]), "tf32x3")


def test_matrices_on_a_cpu_are_refused() -> None:
    with pytest.raises(InputError, match="on a CPU"):
        mssbench.sqrtm(torch.eye(3), forward="fused_triton")
