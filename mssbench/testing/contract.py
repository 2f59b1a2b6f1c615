"""The properties that methods must have, each tested by a function that raises AssertionError.

Some are of a single method; others of a pair, a forward (root) with a backward (gradient).
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from mssbench import arrays
from mssbench.arrays import Array
from mssbench.errors import RegistryError
from mssbench.methods.method import Function, Method
from mssbench.methods.pair import Pair, pair
from mssbench.testing.matrices import (
    UNIT,
    cotangent,
    error,
    exact_gradient,
    exact_root,
    root_and_gradient,
    rotation,
    spectrum,
    with_spectrum,
)

Contract = Callable[[], None]
# Largest errors of an exact pair for eigenvalues from 0.94 to 1.06, in units of the precision:
# about three times the largest errors of the methods of mssbench.
ROOT_UNITS, GRADIENT_UNITS = 20, 60
# Largest relative difference between a matrix alone and in a batch, as libraries may sum in another
# order; and between a matrix and the same matrix in another basis, in float64.
ALONE = {"float64": 1e-12, "float32": 1e-6}
TURNED = 1e-11


class Case(NamedTuple):
    """A pair of methods to test on one library, device and precision, with its error limits."""

    pair: Pair  # with enough steps to be exact, if it is an exact method
    few: Pair  # with too few steps, so that errors of scaling or batching are visible in the root
    library: str
    device: str
    precision: str
    root_limit: float  # largest relative error of the root, for eigenvalues near 1
    gradient_limit: float  # likewise, of the gradient
    alone: float  # largest relative difference between a matrix alone and in a batch
    turned: float = TURNED  # likewise, between a matrix and the rotated one

    def put(self, x: np.ndarray) -> Array:
        """Return a float64 numpy array as an array of the case's library, device and precision."""
        return arrays.from_numpy(x, like=arrays.empty(self.library, self.device, self.precision))

    def size(self, wanted: int) -> int:
        """Return the size n to test at: `wanted`, if the forward takes matrices of this size.

        If the forward does not, return the largest size that it takes.
        """
        sizes = self.pair.forward.sizes
        return wanted if not sizes or wanted in sizes else max(sizes)


def contracts(
    *,
    forward: str = "eigh",
    backward: str = "loewner",
    function: Function = "sqrt",
    library: str = "torch",
    device: str = "cpu",
    precision: str = "float64",
    **parameters: Any,
) -> list[Contract]:
    """Return the contract of a pair of registered methods, one function for each property.

    forward, backward: registered names; leave the default for the one that you do not test.
    function: sqrt or isqrt. parameters: parameters of the forward, and of the backward with the
    prefix `backward_`. With these parameters root and gradient must be exact to rounding for
    eigenvalues from 0.94 to 1.06.

    Each function takes no argument and raises AssertionError if the property does not hold. For a
    method that is declared `inexact` the properties of exact methods are left out. Raises
    RegistryError for an unknown name or parameter, and Unsupported for a pair that does not compute
    `function`.
    """
    if precision not in ALONE:
        known = ", ".join(ALONE)
        raise RegistryError(f"contracts are for a precision of {known}, not for {precision!r}.")

    chosen = pair(function, forward, backward, tuple(sorted(parameters.items())))
    unit = UNIT[precision]
    case = Case(
        chosen,
        chosen,
        library,
        device,
        precision,
        root_limit=ROOT_UNITS * unit,
        gradient_limit=GRADIENT_UNITS * unit,
        alone=ALONE[precision],
        turned=TURNED * unit / UNIT["float64"],
    )

    methods = [m for m in (chosen.forward, chosen.backward) if m is not None]
    exact = not any(m.inexact for m in methods)
    return [
        *(partial(check, m) for m in methods for check in declaration()),
        *(partial(check, case) for check in of_a_pair(exact=exact)),
    ]


def name(contract: Contract) -> str:
    """Return a name for one of the test functions that `contracts` returns, as its id in pytest."""
    function: Any = getattr(contract, "func", contract)
    (subject,) = getattr(contract, "args", ("",))
    kind = f"{subject.kind}-" if isinstance(subject, Method) else ""
    return f"{kind}{function.__name__}"


def declaration() -> list[Callable[[Method], None]]:
    """Return the functions that check what a method declares at its registration."""
    return [cites, documents, has_parameters_a_suite_can_write, has_a_finite_cost]


def of_a_pair(*, exact: bool) -> list[Callable[[Case], None]]:
    """Return the functions that check a pair. exact: whether root and gradient must be exact."""
    checks: list[Callable[[Case], None]] = [
        results_are_arrays_like_the_input,
        inputs_are_not_written_to,
        a_batch_of_one_is_an_element_of_a_batch,
        a_zero_matrix_leaves_its_neighbours_untouched,
        a_rotated_matrix_has_a_rotated_root,
    ]

    if exact:
        checks += [root_and_gradient_are_exact, a_scaled_matrix_has_a_scaled_root]
    return checks


# ------------------------------------------------------------------------------ one method


def cites(method: Method) -> None:
    """Check that the method names its source, with a year."""
    assert any(character.isdigit() for character in method.cite), "the citation has no year"
    assert len(method.cite) > 20, f"the citation {method.cite!r} is too short to find the source"


def documents(method: Method) -> None:
    """Check that the method's docstring gives the shape of the matrices and begins well.

    The first line must end with a full stop, or have a colon.
    """
    assert "(..., n, n)" in (method.call.__doc__ or ""), "the docstring gives no shape (..., n, n)"
    assert method.summary.endswith((".", ":")) or ":" in method.summary, method.summary


def has_parameters_a_suite_can_write(method: Method) -> None:
    """Check that the defaults of the parameters are numbers or strings that the method accepts."""
    for parameter in method.parameters.values():
        assert isinstance(parameter.default, int | float | str), parameter
        assert method.check(parameter.name, parameter.default) == parameter.default


def has_a_finite_cost(method: Method) -> None:
    """Check that `products` is a finite number of matrix products for any number of steps.

    With one step or more it must be positive. Only a backward that runs through the operations of
    the forward again may declare none.
    """
    for steps in (0, 1, 2, 5, 30):
        parameters = dict.fromkeys(counted(method), steps)
        cost = method.products(**method.complete(parameters))
        assert math.isfinite(cost), steps
        assert cost >= 0 if method.replays or steps == 0 else cost > 0, steps


def counted(method: Method) -> list[str]:
    """Return the names of the method's parameters that are any number of steps or terms."""
    names = ("iterations", "degree", "terms")
    return [n for n in names if n in method.parameters and not method.parameters[n].choices]


# ------------------------------------------------------------------------------ a pair


def results_are_arrays_like_the_input(case: Case) -> None:
    """Check that root and gradient have the type, dtype, device and shape of A, for any batch."""
    for shape in ((3, 3), (1, 3, 3), (2, 2, 3, 3)):
        a = case.put(np.broadcast_to(with_spectrum([1.1, 1.0, 0.9], 1)[0], shape))
        for x in root_and_gradient(case.pair, a, a):
            assert (type(x), x.dtype, x.device, x.shape) == (type(a), a.dtype, a.device, a.shape)


def root_and_gradient_are_exact(case: Case) -> None:
    """Check that root and gradient are exact to rounding, for eigenvalues from 0.94 to 1.06."""
    agrees(case, with_spectrum(spectrum("near_one", case.size(6))))


def agrees(case: Case, x: np.ndarray) -> None:
    """Raise AssertionError unless the case's pair computes root and gradient of x accurately.

    Their relative errors must be below the case's root_limit and gradient_limit. x: (b, n, n).
    """
    a, g = case.put(x), case.put(cotangent(x.shape))
    seen, g64 = arrays.to_numpy(a), arrays.to_numpy(g)  # the inputs as rounded to the precision
    root, gradient = root_and_gradient(case.pair, a, g)
    function = case.pair.function
    within("root", error(root, exact_root(seen, function)), case.root_limit)
    within("gradient", error(gradient, exact_gradient(seen, g64, function)), case.gradient_limit)


def within(what: str, found: float, limit: float) -> None:
    """Raise AssertionError unless the error `found` is below its limit; NaN never is.

    what: `root`, `gradient` or another word for the message.
    """
    assert found < limit, f"the {what} is wrong by {found:.0e}; rounding explains {limit:.0e}"


def inputs_are_not_written_to(case: Case) -> None:
    """Check that no bit of A or of the cotangent (the gradient of the loss) is changed."""
    a = case.put(with_spectrum(spectrum("near_one", case.size(4))))
    g = case.put(cotangent(a.shape))
    if arrays.library(a) == "numpy":
        a.setflags(write=False)
        g.setflags(write=False)

    before = arrays.to_numpy(a).tobytes(), arrays.to_numpy(g).tobytes()
    root_and_gradient(case.pair, a, g)
    after = arrays.to_numpy(a).tobytes(), arrays.to_numpy(g).tobytes()
    assert after == before, "A or the cotangent was written to"


def a_batch_of_one_is_an_element_of_a_batch(case: Case) -> None:
    """Check that a matrix has the same result alone and in a batch.

    The batch has 64 matrices of scales from 1e-3 to 1e3, so that a norm or a stopping rule over the
    whole batch is detected.
    """
    w = spectrum("near_one", case.size(4))
    x = with_spectrum(w, batch=64) * np.logspace(-3, 3, 64)[:, None, None]
    a, g = case.put(x), case.put(cotangent(x.shape))

    whole = [arrays.to_numpy(x) for x in root_and_gradient(case.few, a, g)]
    for i in (0, 31, 63):
        single = root_and_gradient(case.few, a[i : i + 1], g[i : i + 1])
        for one, many in zip(single, whole, strict=True):
            apart = error(one, many[i : i + 1])
            assert apart <= case.alone, (
                f"matrix {i} alone differs from itself in a batch: {apart:.0e}"
            )


def a_scaled_matrix_has_a_scaled_root(
    case: Case, scales: tuple[float, ...] = (1e6, 1e-6, 1e20, 1e-20)
) -> None:
    """Check that root and gradient of s A are exact too, also if s² overflows in float32.

    scales: the factors s.
    """
    x = with_spectrum(spectrum("near_one", case.size(4)))
    a = case.put(np.concatenate([x * scale for scale in scales]))
    g = case.put(np.concatenate([cotangent(x.shape)] * len(scales)))
    seen, function = arrays.to_numpy(a), case.pair.function
    exact = exact_gradient(seen, arrays.to_numpy(g), function)

    root, gradient = root_and_gradient(case.pair, a, g)
    within("root", error(root, exact_root(seen, function)), case.root_limit)
    within("gradient", error(gradient, exact), case.gradient_limit)


def a_rotated_matrix_has_a_rotated_root(case: Case) -> None:
    """Check that Q A Qᵀ has the root Q A^{1/2} Qᵀ, and a gradient rotated in the same way.

    Q is a random orthogonal matrix. This must hold after too few steps as well.
    """
    n = case.size(5)
    a = with_spectrum(spectrum("condition_100", n))
    g, q = cotangent(a.shape), rotation(n, seed=99)
    plain = root_and_gradient(case.few, case.put(a), case.put(g))
    turned = root_and_gradient(case.few, case.put(q @ a @ q.T), case.put(q @ g @ q.T))
    for x, y in zip(plain, turned, strict=True):
        within("rotated result", error(y, q @ arrays.to_numpy(x) @ q.T), case.turned)


def a_zero_matrix_leaves_its_neighbours_untouched(case: Case) -> None:
    """Check that a zero matrix in a batch does not affect the roots and gradients of the others."""
    two = with_spectrum(spectrum("near_one", case.size(4)), batch=2)
    x = np.stack([two[0], np.zeros_like(two[0]), two[1]])
    a, g = case.put(x), case.put(cotangent(x.shape))
    alone = root_and_gradient(case.pair, a[[0, 2]], g[[0, 2]])
    among = root_and_gradient(case.pair, a, g)
    for one, other in zip(alone, among, strict=True):
        assert np.isfinite(arrays.to_numpy(other[[0, 2]])).all()
        assert error(other[[0, 2]], arrays.to_numpy(one)) < 10 * case.alone
