"""What a method and a pair of methods must keep, each as a function that raises AssertionError."""

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
# Rounding in units of the precision, for an exact pair on eigenvalues from 0.94 to 1.06: about
# three times what the methods of mssbench show at most.
ROOT_UNITS, GRADIENT_UNITS = 20, 60
# A matrix alone and in a batch: libraries may sum in another order. A matrix in another basis.
ALONE = {"float64": 1e-12, "float32": 1e-6}
TURNED = 1e-11


class Case(NamedTuple):
    """A pair on one library and precision, and how far rounding may take it."""

    pair: Pair  # with enough steps to be exact, where it can be
    few: Pair  # with too few: there an error of scaling or of the batch shows in the root
    library: str
    device: str
    precision: str
    root_limit: float  # relative, for eigenvalues near 1
    gradient_limit: float
    alone: float  # how much a matrix may differ from itself in a batch
    turned: float = TURNED

    def put(self, x: np.ndarray) -> Array:
        """A float64 numpy array as one of the case's library, device and precision."""
        return arrays.from_numpy(x, like=arrays.empty(self.library, self.device, self.precision))

    def size(self, wanted: int) -> int:
        """`wanted`, or the largest size that the forward takes."""
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
    """Everything that a pair of registered methods must keep, one function for each property.

    forward, backward: names of the registry; the one that is not yours may stay as it is.
    parameters: those of the forward, and those of the backward with `backward_` in front, such that
    root and gradient are exact to rounding for eigenvalues from 0.94 to 1.06.

    Each function of the list takes no argument and raises AssertionError where the property does
    not hold. A method that declares itself `inexact` is spared the properties of exact ones. Raises
    RegistryError for a name or parameter that is unknown, Unsupported for a pair that does not
    compute `function`.
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
    """The name of a function of `contracts`, for the ids of pytest."""
    function: Any = getattr(contract, "func", contract)
    (subject,) = getattr(contract, "args", ("",))
    kind = f"{subject.kind}-" if isinstance(subject, Method) else ""
    return f"{kind}{function.__name__}"


def declaration() -> list[Callable[[Method], None]]:
    """What a method must say of itself."""
    return [cites, documents, has_parameters_a_suite_can_write, has_a_finite_cost]


def of_a_pair(*, exact: bool) -> list[Callable[[Case], None]]:
    """What a pair must keep. exact: whether its steps suffice for an exact root and gradient."""
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
    """It names its source, with a year."""
    assert any(character.isdigit() for character in method.cite), "a citation has a year"
    assert len(method.cite) > 20, f"the source should be found again by {method.cite!r}"


def documents(method: Method) -> None:
    """Its docstring gives the shape of its matrices, and its first line is a sentence."""
    assert "(..., n, n)" in (method.call.__doc__ or ""), "the docstring gives no shape (..., n, n)"
    assert method.summary.endswith((".", ":")) or ":" in method.summary, method.summary


def has_parameters_a_suite_can_write(method: Method) -> None:
    """The defaults of its parameters are numbers or strings that it accepts itself."""
    for parameter in method.parameters.values():
        assert isinstance(parameter.default, int | float | str), parameter
        assert method.check(parameter.name, parameter.default) == parameter.default


def has_a_finite_cost(method: Method) -> None:
    """`products` is a finite number of matrix products, however many steps it is asked for."""
    for steps in (0, 1, 2, 5, 30):
        given = dict.fromkeys(counted(method), steps)
        cost = method.products(**method.complete(given))
        assert math.isfinite(cost), steps
        assert cost >= 0 if method.replays or steps == 0 else cost > 0, steps


def counted(method: Method) -> list[str]:
    """The parameters of a method that count steps or terms, any number of them."""
    names = ("iterations", "degree", "terms")
    return [n for n in names if n in method.parameters and not method.parameters[n].choices]


# ------------------------------------------------------------------------------ a pair


def results_are_arrays_like_the_input(case: Case) -> None:
    """Root and gradient have the type, dtype, device and shape of A, for any number of axes."""
    for shape in ((3, 3), (1, 3, 3), (2, 2, 3, 3)):
        a = case.put(np.broadcast_to(with_spectrum([1.1, 1.0, 0.9], 1)[0], shape))
        for x in root_and_gradient(case.pair, a, a):
            assert (type(x), x.dtype, x.device, x.shape) == (type(a), a.dtype, a.device, a.shape)


def root_and_gradient_are_exact(case: Case) -> None:
    """To rounding, for eigenvalues from 0.94 to 1.06."""
    agrees(case, with_spectrum(spectrum("near_one", case.size(6))))


def agrees(case: Case, x: np.ndarray) -> None:
    """Root and gradient of the matrices x are exact within the limits of the case."""
    a, g = case.put(x), case.put(cotangent(x.shape))
    seen, g64 = arrays.to_numpy(a), arrays.to_numpy(g)  # the matrix after rounding, exactly
    root, gradient = root_and_gradient(case.pair, a, g)
    function = case.pair.function
    within("root", error(root, exact_root(seen, function)), case.root_limit)
    within("gradient", error(gradient, exact_gradient(seen, g64, function)), case.gradient_limit)


def within(what: str, found: float, limit: float) -> None:
    """Whether an error is below its limit; a NaN is not."""
    assert found < limit, f"the {what} is wrong by {found:.0e}; rounding explains {limit:.0e}"


def inputs_are_not_written_to(case: Case) -> None:
    """Neither A nor the gradient of the loss has one bit changed."""
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
    """Nothing is taken over the batch: 64 matrices of scales from 1e-3 to 1e3 have each its own."""
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
    """The root of s A is √s times that of A, for scales whose squares a float32 cannot hold."""
    x = with_spectrum(spectrum("near_one", case.size(4)))
    a = case.put(np.concatenate([x * scale for scale in scales]))
    g = case.put(np.concatenate([cotangent(x.shape)] * len(scales)))
    seen, function = arrays.to_numpy(a), case.pair.function
    exact = exact_gradient(seen, arrays.to_numpy(g), function)
    root, gradient = root_and_gradient(case.pair, a, g)
    within("root", error(root, exact_root(seen, function)), case.root_limit)
    within("gradient", error(gradient, exact), case.gradient_limit)


def a_rotated_matrix_has_a_rotated_root(case: Case) -> None:
    """Q A Qᵀ has the root Q A^{1/2} Qᵀ, and the gradient likewise, whatever the steps."""
    n = case.size(5)
    a = with_spectrum(spectrum("condition_100", n))
    g, q = cotangent(a.shape), rotation(n, seed=99)
    plain = root_and_gradient(case.few, case.put(a), case.put(g))
    turned = root_and_gradient(case.few, case.put(q @ a @ q.T), case.put(q @ g @ q.T))
    for x, y in zip(plain, turned, strict=True):
        within("rotated result", error(y, q @ arrays.to_numpy(x) @ q.T), case.turned)


def a_zero_matrix_leaves_its_neighbours_untouched(case: Case) -> None:
    """A zero matrix in a batch has no part in the roots and gradients of the others."""
    two = with_spectrum(spectrum("near_one", case.size(4)), batch=2)
    x = np.stack([two[0], np.zeros_like(two[0]), two[1]])
    a, g = case.put(x), case.put(cotangent(x.shape))
    alone = root_and_gradient(case.pair, a[[0, 2]], g[[0, 2]])
    among = root_and_gradient(case.pair, a, g)
    for one, other in zip(alone, among, strict=True):
        assert np.isfinite(arrays.to_numpy(other[[0, 2]])).all()
        assert error(other[[0, 2]], arrays.to_numpy(one)) < 10 * case.alone
