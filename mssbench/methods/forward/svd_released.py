"""Square root by singular value decomposition, as the layers of DifferentiableSVD compute it.

DifferentiableSVD is the code that Song, Sebe & Wang published with their papers, on GitHub.
"""

from mssbench.arrays import Array, namespace, transpose
from mssbench.methods import decomposition
from mssbench.methods.decomposition import floored
from mssbench.methods.method import LAPACK_PRECISIONS, NUMPY_IN_DOUBLE, Root, Wanted
from mssbench.methods.registry import register_forward


@register_forward(
    cite="Song, Sebe & Wang, ICCV 2021, the layers of DifferentiableSVD on GitHub",
    products=lambda: 20.0,
    yields=("sqrt", "eigen"),
    cuts_null=True,  # the pair must not cut eigenvalues again: the layer keeps all above its ε
    precisions=LAPACK_PRECISIONS,
    at_singular="its root has √ε in null directions",
    inexact="as released: eigenvalues up to an absolute ε are ε, so that the root of a singular A "
    "has √ε in its null directions",
    computes=NUMPY_IN_DOUBLE,
)
def svd_released(a: Array, wanted: Wanted) -> Root:
    """The published layers' forward: SVD with an absolute floor ε for the eigenvalues.

    A = U diag(s) Vᵀ,  A^{1/2} = V diag(√max(s, ε)) Vᵀ, ε the spacing of the dtype at 1.

    a: (..., n, n). `svd` sets eigenvalues up to 4 ε times the largest one to 0 instead. The layers
    compute the decomposition in float64 on the CPU, whatever the precision and device of the
    network; this method computes in the precision and on the device of its input.
    """
    _, s, vt = decomposition.svd(a)
    w, v = floored(s), transpose(vt)
    return Root(
        sqrt=(v * namespace(w).sqrt(w)[..., None, :]) @ vt if "sqrt" in wanted else None,
        eigen=(w, v),
    )
