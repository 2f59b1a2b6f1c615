"""Square root by torch's own function for symmetric matrices."""

from mssbench.arrays import Array, namespace
from mssbench.errors import Unsupported
from mssbench.methods.method import LAPACK_PRECISIONS, Root
from mssbench.methods.registry import register_forward


@register_forward(
    cite="torch.linalg.matrix_sqrth, pytorch #187987, 2026",
    products=lambda: 12.0,  # eigh and one product
    yields=("sqrt",),
    libraries=("torch",),
    precisions=LAPACK_PRECISIONS,
)
def matrix_sqrth(a: Array) -> Root:
    """`torch.linalg.matrix_sqrth`: V diag(√w) Vᵀ, with a backward by divided differences.

    a: (..., n, n), positive definite; only the lower triangle is read. In a pair with `autodiff`
    the gradient is the one that torch defines. Raises Unsupported if torch is too old to have the
    function.
    """
    torch = namespace(a)
    if not hasattr(torch.linalg, "matrix_sqrth"):
        raise Unsupported(
            f"torch {torch.__version__} has no linalg.matrix_sqrth, which came after 2.13: "
            "pip install --upgrade torch"
        )
    return Root(sqrt=torch.linalg.matrix_sqrth(a))
