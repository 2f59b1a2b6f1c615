"""What networks are known to do with each root, at sizes that take seconds.

The longer cases are claims of the suite train_full, which its committed run decides.
"""

import pytest

from mssbench.training.loop import Curve, Settings, train
from mssbench.training.network import Method
from mssbench.training.tasks.registry import task

CHANCE_OF_SIX = 1 / 6
TOP_HALF = Method("gcp_truncate", "daleckii_krein", {"drop": 16})  # of 32 eigenvalues
EXACT, COVARIANCE = Method("eigh", "loewner"), Method("covariance")


def on_digits(method: Method, seed: int) -> Curve:
    return train(task("digits"), method, Settings(seed=seed, epochs=4))


@pytest.mark.slow
def test_the_published_layer_is_wrong_in_single_precision_and_its_repair_is_not() -> None:
    """With fewer places than channels, null eigenvalues are all equal to its floor."""
    released = Method("svd_released", "svd_original_released", precision="float32")
    accuracies = [on_digits(released, seed).epochs[-1].accuracy for seed in (0, 1)]
    assert min(accuracies) < 0.95
    in_double = Method("svd_released", "svd_original_released", precision="float64")
    assert on_digits(in_double, 0).epochs[-1].accuracy >= 0.97
    assert on_digits(Method("svd", "svd_trunc"), 0).epochs[-1].accuracy >= 0.98


@pytest.mark.slow
def test_the_scaling_branch_has_no_bad_step_with_its_exact_gradient() -> None:
    curve = on_digits(Method("gcp_seb", "daleckii_krein"), 0)
    assert curve.nonfinite_share == 0
    assert curve.epochs[-1].accuracy > 0.93


def best(name: str, method: Method) -> float:
    """The best accuracy at two learning rates."""
    curves = [train(task(name), method, Settings(0, rate, epochs=30)) for rate in (0.02, 0.1)]
    return max(curve.epochs[-1].accuracy for curve in curves)


@pytest.mark.slow
def test_the_positive_control_tells_root_and_covariance_apart() -> None:
    """In smallcov the class is in small eigenvalues, in largecov in large ones."""
    root, covariance, top_half = (best("smallcov", m) for m in (EXACT, COVARIANCE, TOP_HALF))
    assert root - covariance >= 0.2
    assert root - top_half >= 0.2
    assert covariance > CHANCE_OF_SIX

    root, covariance, top_half = (best("largecov", m) for m in (EXACT, COVARIANCE, TOP_HALF))
    assert abs(root - covariance) <= 0.08
    assert abs(root - top_half) <= 0.08
