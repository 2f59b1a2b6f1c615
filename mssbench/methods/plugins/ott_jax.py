"""Square root by OTT-JAX, called from torch."""

from functools import cache
from typing import Any

from mssbench.arrays import Array
from mssbench.errors import Unsupported
from mssbench.methods.method import Root, Wanted
from mssbench.methods.registry import register_forward


@register_forward(
    cite="Cuturi et al., Optimal Transport Tools (OTT): A JAX Toolbox for all things Wasserstein, "
    "arXiv 2201.12324, 2022; tested: ott-jax 0.6.0, jax 0.10.2",
    products=lambda: 62.0,  # twenty steps of three products, and two residuals
    libraries=("torch",),
    # float64 is a global setting of JAX, with which this function fails for float32.
    precisions=("float32",),
    package="ott.math.matrix_square_root",
)
def ott_jax(a: Array, wanted: Wanted) -> Root:
    """OTT-JAX's `sqrtm_only`, `inv_sqrtm_only`, compiled: coupled Newton–Schulz to residual 1e-6.

    a: (..., n, n), on the CPU. The gradient solves the Sylvester equation by complex Schur forms
    (Bartels & Stewart). Known: there is one stopping test for the whole batch, every ten steps; the
    Schur form exists on the CPU only. JAX allocates its memory itself, so that `peak_bytes` does
    not include it.
    """
    if a.is_cuda:
        raise Unsupported("ott_jax needs a Schur form, which JAX has on the CPU only")
    return Root(
        sqrt=_root("sqrtm_only")(a) if "sqrt" in wanted else None,
        isqrt=_root("inv_sqrtm_only")(a) if "isqrt" in wanted else None,
    )


@cache
def _root(name: str) -> Any:
    """Wrap a function of OTT as a function of torch whose backward is the vjp of JAX."""
    import jax
    import torch
    from ott.math import matrix_square_root

    root = getattr(matrix_square_root, name)
    record = jax.jit(lambda a: jax.vjp(root, a))
    replay = jax.jit(lambda pull, g: pull(g)[0])

    def put(x: Any) -> Any:
        return jax.numpy.asarray(x.detach().numpy())

    def get(x: Any) -> Any:
        return torch.utils.dlpack.from_dlpack(jax.block_until_ready(x))

    class OfJax(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, a: Any) -> Any:
            y, pull = record(put(a))
            leaves, ctx.tree = jax.tree.flatten(pull)
            ctx.save_for_backward(*map(get, leaves))  # as torch tensors, whose memory is counted
            return get(y)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            pull = jax.tree.unflatten(ctx.tree, map(put, ctx.saved_tensors))
            return get(replay(pull, put(g)))

    return OfJax.apply
