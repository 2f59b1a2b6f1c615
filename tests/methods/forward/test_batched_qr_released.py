"""The QR iteration as the authors of BatchED published it, faults included.

The numbers below were computed once by their code (utils_ed.py at commit ad46467, on the CPU, in
float64), on the matrices of `matrices`.
"""

import numpy as np
import pytest
import torch

import mssbench
from mssbench.errors import InputError
from mssbench.methods import registry
from mssbench.testing.matrices import error, exact_root, with_spectrum

# (n, batch): the eigenvalues of the layer for each matrix, and Σ_ij (n i + j + 1) Y_ij of the root
PUBLISHED = {
    (2, 2): (
        [[0.792392931715, 0.110938231235], [0.138637351411, 0.833842339764]],
        [4.307181629524818, 4.612054851019526],
    ),
    (3, 2): (
        [
            [0.000665095304, 0.508777083116, 0.94509406285],
            [0.003098943239, 0.959686668592, 0.502005919498],
        ],
        [0.9065361726175203, 1.3145952292388645],
    ),
    (4, 3): (
        [
            [1.088634110357, 0.809239488871, 0.010262702568, 0.032479552395],
            [1.254063762095, 0.012924935824, 0.717927090446, 0.033715615094],
            [1.362786917357, 0.010666835004, 0.034295430979, 0.633071218571],
        ],
        [18.131160998010735, 15.758803358846421, 15.67565118822965],
    ),
    (8, 1): (
        [
            [
                2.045025067804,
                1.775614313515,
                0.064480688924,
                0.035157201818,
                0.012819849023,
                0.053411388481,
                3.0454308e-05,
                4.6756004e-05,
            ]
        ],
        [19.360071457086235],
    ),
}


def matrices(n: int, batch: int) -> np.ndarray:
    """Covariances of smooth features, without a random number: (batch, n, n)."""
    i = np.arange(batch * n * 2 * n, dtype=float).reshape(batch, n, 2 * n)
    x = np.sin(1.7 * i + 0.3 * np.cos(i))
    return x @ x.swapaxes(1, 2) / (2 * n)


def call(a, *wanted: str):
    return registry.lookup("forward", "batched_qr_released").call(a, frozenset(wanted))


@pytest.mark.parametrize("library", ["torch", "numpy"])
@pytest.mark.parametrize(("n", "batch"), PUBLISHED)
def test_the_numbers_are_those_of_the_published_code(n: int, batch: int, library: str) -> None:
    eigenvalues, sums = PUBLISHED[n, batch]
    a = matrices(n, batch)
    root = call(torch.as_tensor(a) if library == "torch" else a, "sqrt", "eigen")
    weights = np.arange(1.0, n * n + 1).reshape(n, n)
    assert np.asarray(root.eigen[0]) == pytest.approx(np.array(eigenvalues), abs=2e-12)
    assert (np.asarray(root.sqrt) * weights).sum((1, 2)) == pytest.approx(sums, rel=1e-11)


def test_the_other_matrices_of_a_batch_change_a_root() -> None:
    """`batched_qr`, which does not do this, has a test of the opposite."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 8, 16))
    a = x @ x.swapaxes(1, 2) / 16
    together = np.asarray(call(a, "sqrt").sqrt)
    alone = np.concatenate([call(a[i : i + 1], "sqrt").sqrt for i in range(len(a))])
    assert error(together[0], alone[0]) > 1e-4
    assert np.median([error(*each) for each in zip(together, alone, strict=True)]) > 1e-2


def test_an_absolute_limit_of_1e_3_makes_small_matrices_wrong() -> None:
    """All entries of a matrix of 1e-6 count as zero, and nothing is ever rotated to the end."""
    a = with_spectrum([1.0, 0.7, 0.4, 0.1])
    small = 1e-6 * a
    wrong = error(call(small, "sqrt").sqrt, exact_root(small, "sqrt"))
    assert wrong > 1e-2
    assert error(mssbench_root(small), exact_root(small, "sqrt")) < 1e-12


def mssbench_root(a: np.ndarray) -> np.ndarray:
    return np.asarray(registry.lookup("forward", "batched_qr").call(a, frozenset(["sqrt"])).sqrt)


def test_eigenvalues_below_1e_10_are_1e_10() -> None:
    w = np.asarray(call(np.diag([1.0, 0.5, 0.0, 0.0]), "eigen").eigen[0])
    assert sorted(w)[:2] == [1e-10, 1e-10]


def test_a_number_is_a_matrix() -> None:
    assert np.asarray(call(np.array([[[4.0]], [[9.0]]]), "sqrt").sqrt).ravel().tolist() == [2, 3]


def test_it_has_no_recorded_gradient_and_goes_with_the_taylor_layer() -> None:
    a = torch.as_tensor(matrices(4, 1)[0]).requires_grad_()
    with pytest.raises(InputError, match=r"autodiff differentiates .* those of batched_qr_rel"):
        mssbench.sqrtm(a, forward="batched_qr_released", backward="autodiff")
    y = mssbench.sqrtm(a, forward="batched_qr_released", backward="svd_taylor_released")
    y.trace().backward()
    assert a.grad is not None
    assert torch.isfinite(a.grad).all()


def test_vmap_sees_no_batch_and_nothing_is_cut_off() -> None:
    a = torch.as_tensor(matrices(4, 3))
    found = torch.func.vmap(lambda m: call(m, "sqrt").sqrt)(a)
    assert found.shape == (3, 4, 4)
    assert torch.isfinite(found).all()
