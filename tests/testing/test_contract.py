"""The contract tests as authors of plug-ins use them: right methods pass, each fault fails."""

from typing import Any

import numpy as np
import pytest

from mssbench import arrays, testing
from mssbench.errors import RegistryError, Unsupported
from mssbench.methods.method import Root
from mssbench.testing.contract import cites, documents, has_a_finite_cost

CITE = "A. Stranger, Roots of the tests, 2026"


def broken(contracts: list[Any]) -> set[str]:
    """The names of the contracts that do not hold."""
    found = set()
    for contract in contracts:
        try:
            contract()
        except Exception:
            found.add(testing.name(contract))
    return found


def root_of(a: Any) -> Any:
    """The root by numpy, whatever library the matrix is of."""
    w, v = np.linalg.eigh(arrays.to_numpy(a))
    x = (v * np.sqrt(np.maximum(w, 0))[..., None, :]) @ v.swapaxes(-1, -2)
    return arrays.from_numpy(x, like=a)


@pytest.mark.parametrize("contract", testing.contracts(library="numpy"), ids=testing.name)
def test_a_right_pair_keeps_every_contract(contract: Any) -> None:
    contract()


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_a_strangers_right_method_keeps_them_in_either_precision(
    register: Any, precision: str
) -> None:
    def right(a: Any) -> Root:
        """Its root, of (..., n, n)."""
        return Root(sqrt=root_of(a))

    register["forward"](cite=CITE, products=lambda: 1.0, yields=("sqrt",))(right)
    contracts = testing.contracts(forward="right", library="numpy", precision=precision)
    assert len(contracts) == 2 * 4 + 7
    assert broken(contracts) == set()


def over_the_batch(a: Any) -> Any:
    return root_of(a) * (1 + 1e-9 * len(a))


def writes(a: Any) -> Any:
    found = root_of(a)
    a[..., 0, 0] *= 1 + 1e-15
    return found


def narrow(a: Any) -> Any:
    return root_of(a).astype(np.float32)


def wrong(a: Any) -> Any:
    return root_of(a) * (1 + 1e-11)


def of_one_basis(a: Any) -> Any:
    found = root_of(a)
    found[..., 0, 0] *= 1 + 1e-9
    return found


def absolute(a: Any) -> Any:
    n = a.shape[-1]
    return root_of(a + 1e-16 * np.eye(n))


def mixes(a: Any) -> Any:
    """Multiplies and divides by the smallest trace of the batch, which may be 0."""
    trace = np.trace(a, axis1=-2, axis2=-1).min()
    return root_of(a) * trace / trace


@pytest.mark.parametrize(
    ("method", "names"),
    [
        (
            over_the_batch,
            {"a_batch_of_one_is_an_element_of_a_batch", "root_and_gradient_are_exact"},
        ),
        (writes, {"inputs_are_not_written_to"}),
        (narrow, {"results_are_arrays_like_the_input", "root_and_gradient_are_exact"}),
        (wrong, {"root_and_gradient_are_exact", "a_scaled_matrix_has_a_scaled_root"}),
        (of_one_basis, {"a_rotated_matrix_has_a_rotated_root", "root_and_gradient_are_exact"}),
        (absolute, {"a_scaled_matrix_has_a_scaled_root"}),
        (mixes, {"a_zero_matrix_leaves_its_neighbours_untouched"}),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_each_fault_breaks_the_contract_that_is_made_for_it(
    register: Any, method: Any, names: set[str]
) -> None:
    def faulty(a: Any) -> Root:
        """Its root, of (..., n, n), with a fault."""
        return Root(sqrt=method(a))

    register["forward"](cite=CITE, products=lambda: 1.0, yields=("sqrt",))(faulty)
    found = broken(testing.contracts(forward="faulty", library="numpy"))
    assert names <= found
    assert not any(name.startswith(("forward-", "backward-")) for name in found)


@pytest.mark.parametrize(
    ("given", "text", "check"),
    [
        ({"cite": "somebody"}, "Roots of (..., n, n).", cites),
        ({}, "Roots of matrices.", documents),
        ({"products": lambda: float("inf")}, "Roots of (..., n, n).", has_a_finite_cost),
        ({"products": lambda: 0.0}, "Roots of (..., n, n).", has_a_finite_cost),
    ],
)
def test_a_method_that_says_too_little_of_itself_is_found(
    register: Any, given: dict[str, Any], text: str, check: Any
) -> None:
    def silent(a: Any) -> Root:
        return Root(sqrt=root_of(a))

    silent.__doc__ = text
    declared = {"cite": CITE, "products": lambda: 1.0, "yields": ("sqrt",)} | given
    register["forward"](**declared)(silent)
    found = broken(testing.contracts(forward="silent", library="numpy"))
    assert f"forward-{check.__name__}" in found
    assert not [name for name in found if name.startswith("backward-")]


def test_a_method_that_cannot_be_exact_is_spared_what_needs_it(register: Any) -> None:
    def rough(a: Any) -> Root:
        """Its root, of (..., n, n), to three digits."""
        return Root(sqrt=root_of(a) * 1.001)

    register["forward"](cite=CITE, products=lambda: 1.0, yields=("sqrt",), inexact="it says so")(
        rough
    )
    contracts = testing.contracts(forward="rough", library="numpy")
    assert "root_and_gradient_are_exact" not in {testing.name(c) for c in contracts}
    assert broken(contracts) == set()


def test_what_is_unknown_is_refused_before_anything_is_computed() -> None:
    with pytest.raises(RegistryError, match=r"Did you mean 'eigh'"):
        testing.contracts(forward="eig")
    with pytest.raises(RegistryError, match=r"contracts are for a precision of float64, float32"):
        testing.contracts(precision="bfloat16")
    with pytest.raises(Unsupported, match="taylor does not compute isqrt"):
        testing.contracts(forward="taylor", function="isqrt")
