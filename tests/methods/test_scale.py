"""A scaled matrix has a scaled root and gradient, as far as the precision can hold them."""

import pytest
import torch

import mssbench

# Largest eigenvalue 3.6: up to this scale the matrix and its root are numbers of float32.
SCALES = [1e-34, 1e-30, 1e-26, 1e26, 1e30, 1e34]
PAIRS = [
    ("eigh", "loewner"),
    ("svd", "loewner"),
    ("svd", "autodiff"),
    ("eigh", "kronecker"),
    ("eigh", "lyapunov_minimax"),
    ("newton_schulz", "loewner"),
    ("svd", "svd_pade"),
    ("svd", "svd_taylor"),
    ("svd", "svd_trunc"),
    ("eigh", "svd_original"),
    ("eigh", "svd_power_iteration"),
    ("eigh_parallel", "loewner_parallel"),
]


def gradient(function, a, cotangent, **pair):
    a = a.clone().requires_grad_()
    y = getattr(mssbench, f"{function}m")(a, **pair)
    return torch.autograd.grad(y, a, cotangent)[0].double()


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("function", ["sqrt", "isqrt"])
@pytest.mark.parametrize(("forward", "backward"), PAIRS)
def test_five_digits_wherever_the_result_is_a_number(forward, backward, function, scale):
    pair = {"forward": forward, "backward": backward}
    if forward == "newton_schulz":
        pair["iterations"] = 12
    a, g = torch.tensor([[2.0, 1.0], [1.0, 3.0]]), torch.eye(2)
    power = 0.5 if function == "sqrt" else 1.5
    weight = min(max(scale**power, 1e-30), 1e30)
    due = gradient(function, a.double(), g.double(), **pair) * (weight / scale**power)
    if not 1e-36 < due.abs().max() < 1e37:
        pytest.skip("the gradient is no number of float32")
    found = gradient(function, scale * a, weight * g, **pair)
    assert (found - due).norm() < 1e-5 * due.norm()


def test_the_gradient_of_an_inverse_root_at_1e26_is_the_one_of_the_closed_form():
    found = gradient("isqrt", 1e26 * torch.tensor([[2.0, 1.0], [1.0, 3.0]]), 1e30 * torch.eye(2))
    assert found[0, 0].item() == pytest.approx(-2.4278441447e-10, rel=1e-6)
