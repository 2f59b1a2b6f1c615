"""Gradient of the eigendecomposition with a Padé approximant, as DifferentiableSVD computes it.

DifferentiableSVD is the code that Song, Sebe & Wang published with their papers, see released.py.
"""

from mssbench.arrays import Array, namespace
from mssbench.methods.backward.released import gradient, larger_and_ratio, released
from mssbench.methods.method import Function, Root

# The coefficients of P and Q in the layer, ascending from r^0: `mpmath.pade` of 1 + r + ... + r^100
# with degrees 50 and 50, at 20 digits, in mpmath 1.3. The linear system for Q is singular, but
# mpmath solves it without an error. Apart from p_0 = q_0 = 1 its results are rounding errors.
_P = """
    1.0 1.0590543924118798 0.2007395734297454 -0.2381917746191816 -0.17975292988061342
    0.040567520881816616 0.46081197611436525 0.5162288589303364 0.4425983127413899
    0.53737328890103 0.5197513195150908 -0.3520785419196807 0.26665400721332727
    0.23706309128342196 0.19476155525536887 0.6103969435365959 -0.12654767722801233
    -0.06548345706746417 0.029897037884434593 0.09437844138039955 0.32236671643052534
    0.21234274191738475 0.12208210368238612 0.10096042412218122 0.11055389983517391
    0.1480869977346551 -0.06206389730224871 0.3761950662179553 0.2911605656536263
    0.3747736400298118 -0.0950164918007776 -0.16787458370680122 -0.9331954086371289
    -1.0347436104047945 -1.1534961279406717 -0.719160019851376 -0.001974928998751831
    -0.16903792697125097 -0.18290371432885483 -0.08685670844628175 -0.5994680709941702
    -0.17939133123311504 -0.48832593993498485 -0.13091308937270396 -0.030539088223648484
    0.18124249685338356 -0.054945743697552354 -0.528592891358965 -0.9122461035360034
    -0.5062763039738003 -4.235164736271502e-21
"""
_Q = """
    1.0 0.05905439241187985 -0.8583148189821345 -0.43893134804892703 0.05843884473856817
    0.22032045076243004 0.4202444552325486 0.0554168828159712 -0.07363054618894657
    0.09477497615964009 -0.01762196938593923 -0.8718298614347714 0.6187325491330079
    -0.029590915929905315 -0.04230153602805306 0.4156353882812271 -0.7369446207646083
    0.061064220160548174 0.09538049495189875 0.06448140349596496 0.2279882750501258
    -0.11002397451314061 -0.09026063823499862 -0.0211216795602049 0.00959347571299269
    0.03753309789948121 -0.21015089503690385 0.438258963520204 -0.085034500564329
    0.08361307437618551 -0.46979013183058943 -0.07285809190602362 -0.7653208249303277
    -0.10154820176766548 -0.11875251753587719 0.43433610808929557 0.7171850908526243
    -0.16706299797249916 -0.013865787357603843 0.09604700588257307 -0.5126113625478884
    0.42007673976105514 -0.30893460870186984 0.3574128505622809 0.10037400114905548
    0.21178158507703204 -0.2361882405509359 -0.4736471476614127 -0.3836532121770384
    0.4059697995622031 0.5062763039738003
"""


@released(
    cite="Song, Sebe & Wang, ICCV 2021 (SVD-Padé), the layer of DifferentiableSVD on GitHub",
    inexact="as released: eigenvalues up to an absolute ε are ε, and for equal eigenvalues K is "
    "P(1) / Q(1) / p, some 5e6 / p in float32 and infinite in float64, with one sign for both "
    "directions",
)
def svd_pade_released(root: Root, function: Function, g: Array) -> Array:
    """The published layer's svd_pade, [50/50]: mpmath's coefficients, huge K for equal eigenvalues.

    S = sym(V (Kᵀ ∘ (Vᵀ U) + diag(f'(w_i) (VᵀGV)_ii)) Vᵀ), U = 2 G V diag(f),
    K_ij = ±P(r) / (Q(r) p), p and q the larger and the smaller eigenvalue, r = q / p, and + where
    w_i >= w_j; K_ii = 0.

    g: (..., n, n). Each w below ε, the spacing of the dtype at 1, is raised to ε, so that the null
    eigenvalues of a singular A are equal. There P(1) = -0.55 and Q(1) is a rounding error: -2^-23
    in float32 and 0 in float64, where the resulting -∞ becomes the smallest finite K of the batch.
    In `svd_pade` the limit ε is relative to the largest eigenvalue, K is 0 for equal eigenvalues,
    and the coefficients are those of least norm, with which P(r) (1 - r) = Q(r) holds exactly. The
    module `mssbench.methods.backward.released` defines the symbols and lists all differences.
    """

    def k(wi: Array, wj: Array) -> Array:
        larger, ratio = larger_and_ratio(wi, wj)
        top = bottom = power = namespace(ratio).ones_like(ratio)
        for p, q in zip(_coefficients(_P)[1:], _coefficients(_Q)[1:], strict=True):
            power = power * ratio
            top, bottom = top + p * power, bottom + q * power
        return top / bottom / larger

    return gradient(root, function, g, k)


def _coefficients(numbers: str) -> list[float]:
    return [float(number) for number in numbers.split()]
