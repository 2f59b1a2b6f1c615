"""Run by test_kernels_triton.py: Triton's kernel in its interpreter, to be asked for beforehand.

Prints a line of JSON: the largest errors found, by what was tried.
"""

import json
import os
from typing import Any

os.environ["TRITON_INTERPRET"] = "1"

import numpy as np
import torch

from mssbench.methods.forward.fused_triton import fused_triton
from mssbench.methods.kernels import triton_roots
from mssbench.methods.minimax import plan, taylor
from mssbench.testing.matrices import error, exact_root, with_spectrum

BOTH = frozenset(("sqrt", "isqrt"))


def main() -> None:
    found: dict[str, Any] = {}
    for n in (1, 3, 16, 27, 32):
        for condition in (10.0, 1e4):
            a = with_spectrum(np.geomspace(1, 1 / condition, n) if n > 1 else np.ones(1), 2, n)
            x = torch.tensor(a, dtype=torch.float32)
            factors = plan(5, 5, 0.0, 1, error=1e-9, floor=4e-3).factors
            root = triton_roots.iterate(x, factors, "min_ws_minc", BOTH, "tf32x3")
            for name in BOTH:
                right = exact_root(x.numpy().astype(np.float64), name)
                found[f"{name} {n} {condition:g}"] = error(getattr(root, name).numpy(), right)
            found.setdefault("asymmetry", 0.0)
            found["asymmetry"] += float((root.sqrt - root.sqrt.mT).abs().max())
    made = torch.tensor(with_spectrum(np.geomspace(1, 0.1, 20), 3), dtype=torch.float32)
    steps = (taylor(3),) * 12
    for norm in ("trace", "frobenius", "min_ws_minc"):
        root = triton_roots.iterate(made, steps, norm, BOTH, "tf32x3").sqrt
        found[f"norm {norm}"] = error(
            root.numpy(), exact_root(made.numpy().astype(np.float64), "sqrt")
        )
    for operands in ("tf32", "bfloat16"):  # with the schedules for them
        rounded = fused_triton(made, BOTH, operands=operands).sqrt
        right = exact_root(made.numpy().astype(np.float64), "sqrt")
        found[operands] = error(rounded.numpy(), right)
    alone = triton_roots.iterate(made, steps, "trace", frozenset(["isqrt"]), "tf32x3")
    found["alone"] = alone.sqrt is None and alone.isqrt.shape == made.shape
    found["empty"] = list(triton_roots.iterate(made[:0], steps, "trace", BOTH, "tf32x3").sqrt.shape)
    poisoned = made.clone()
    poisoned[1] = torch.nan
    root = triton_roots.iterate(poisoned, steps, "trace", BOTH, "tf32x3").sqrt
    whole = triton_roots.iterate(made, steps, "trace", BOTH, "tf32x3").sqrt
    found["neighbours"] = bool((root[[0, 2]] == whole[[0, 2]]).all() and root[1].isnan().all())
    zero = triton_roots.iterate(torch.zeros(1, 4, 4), steps, "frobenius", BOTH, "tf32x3").sqrt
    found["zero"] = bool((zero == 0).all())
    print(json.dumps(found))


if __name__ == "__main__":
    main()
