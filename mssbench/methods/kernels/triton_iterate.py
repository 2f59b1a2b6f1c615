"""The coupled iteration in Triton: one program per matrix, products on tensor cores.

All matrices of a program are in registers. This module is imported only where a kernel is compiled
or interpreted, because Triton may be missing.
"""

import triton
import triton.language as tl


@triton.jit
def cut(x, BITS: tl.constexpr):
    """Return X without the last BITS of the 23 bits of its mantissa."""
    return (x.to(tl.int32, bitcast=True) & -(1 << BITS)).to(tl.float32, bitcast=True)


@triton.jit
def product(x, y, OPERANDS: tl.constexpr, INTERPRETED: tl.constexpr):
    """Return X Y in float32, with operands of the format OPERANDS.

    Tensor cores read tf32 and bfloat16. The interpreter would multiply float32, so there the last
    bits of the operands are cut off first. "tf32x3" is more accurate: each operand is the sum of
    two in tf32, and three products are added.
    """
    if OPERANDS == "tf32x3":
        a, b = cut(x, 13), cut(y, 13)
        acc = tl.dot(x - a, b, input_precision="tf32", out_dtype=tl.float32)
        acc = tl.dot(a, y - b, acc, input_precision="tf32", out_dtype=tl.float32)
        return tl.dot(a, b, acc, input_precision="tf32", out_dtype=tl.float32)
    elif INTERPRETED:
        BITS: tl.constexpr = 16 if OPERANDS == "bfloat16" else 13
        return tl.dot(cut(x, BITS), cut(y, BITS), out_dtype=tl.float32)
    elif OPERANDS == "bfloat16":
        return tl.dot(x.to(tl.bfloat16), y.to(tl.bfloat16), out_dtype=tl.float32)
    else:
        return tl.dot(x, y, input_precision="tf32", out_dtype=tl.float32)


@triton.jit
def upper_bound(a, i, j, n, NORM: tl.constexpr):
    """Return the bound NORM of the largest eigenvalue, as in norms.py; a is zero beyond row n."""
    trace = tl.sum(tl.sum(tl.where(i == j, a, 0.0), axis=1), axis=0)
    if NORM == "trace":
        return trace
    elif NORM == "frobenius":
        return tl.sqrt(tl.sum(tl.sum(a * a, axis=1), axis=0))
    else:
        mean = trace / n
        inside = (i < n) & (j < n)
        from_mean = tl.where(inside & (i == j), a - mean, a)
        squares = tl.sum(tl.sum(from_mean * from_mean, axis=1), axis=0)
        styan = mean + tl.sqrt(squares / n * (n - 1))
        rows = tl.sum(tl.abs(a), axis=0) / n  # A is symmetric: also those of the columns
        above = tl.sum(tl.abs(a) * rows[None, :], axis=1)
        below = tl.sum(tl.abs(a), axis=1) / n
        minc = tl.max(tl.where(below > 0.0, above / tl.where(below > 0.0, below, 1.0), 0.0), axis=0)
        return tl.minimum(styan, minc) * (1.0 + 4.0 * 1.1920929e-07)


@triton.jit(do_not_specialize=["n"])  # an n of 1 would be no number any more
def iterate(
    A,
    Y,
    Z,
    C,
    n,
    STEPS: tl.constexpr,
    N: tl.constexpr,
    NORM: tl.constexpr,
    OPERANDS: tl.constexpr,
    INTERPRETED: tl.constexpr,
    SQUARE: tl.constexpr,
    WANT_SQRT: tl.constexpr,
    WANT_ISQRT: tl.constexpr,
):
    """Write A^{1/2} and A^{-1/2} of matrix number program_id(0) to Y and Z, n <= N.

    C: (STEPS, 3), the coefficients of the factors.

    SQUARE: whether any factor has a term in W².
    """
    start = tl.program_id(0).to(tl.int64) * n * n
    i = tl.arange(0, N)[:, None]
    j = tl.arange(0, N)[None, :]
    inside = (i < n) & (j < n)
    eye = tl.where(i == j, 1.0, 0.0)
    a = tl.load(A + start + i * n + j, mask=inside, other=0.0)
    a = 0.5 * (a + tl.load(A + start + j * n + i, mask=inside, other=0.0))
    top = tl.max(tl.max(tl.where(i == j, a, 0.0), axis=1), axis=0)
    top = tl.where(top > 0.0, top, 1.0)  # NaN stays in the entries
    a = a / top
    bound = upper_bound(a, i, j, n, NORM)
    y = tl.where(inside, a / tl.where(bound > 0.0, bound, 1.0), eye)
    z = eye
    for k in range(STEPS):
        w = product(z, y, OPERANDS, INTERPRETED)
        t = tl.load(C + 3 * k) * eye + tl.load(C + 3 * k + 1) * w
        if SQUARE:
            t += tl.load(C + 3 * k + 2) * product(w, w, OPERANDS, INTERPRETED)
        y = product(y, t, OPERANDS, INTERPRETED)
        z = product(t, z, OPERANDS, INTERPRETED)
    root = tl.sqrt(bound) * tl.sqrt(top)
    if WANT_SQRT:
        tl.store(Y + start + i * n + j, 0.5 * (y + tl.trans(y)) * root, mask=inside)
    if WANT_ISQRT:
        tl.store(Z + start + i * n + j, 0.5 * (z + tl.trans(z)) / root, mask=inside)
