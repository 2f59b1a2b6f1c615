"""Probe the loss around a network in training, and judge the gradient of its pooling.

All probes move along the gradient g = dL/dX with respect to an activation X, the output of the
stem. They leave the network as it was, with the running statistics of batch normalization.

    band        the range of L(X + η g) over the step sizes η
    difference  the largest ‖g(X + η g) - g‖ over them
    beta        ‖g(X + η g) - g‖ / (η ‖g‖): an estimate of the smoothness, whose quartiles are kept
    truth       (L(X + η g) - L(X - η g)) / (2 η ‖g‖²) for a small η: 1 if g is the gradient of L

A loss with a small gradient has a narrow band. So band and difference are also divided by what they
are for a linear or a quadratic loss with that gradient: by η ‖g‖² and ‖g‖.

Sources: Wang, Zhang, Li & Zuo, What deep CNNs benefit from global covariance pooling: an
optimization perspective, CVPR 2020; Santurkar, Tsipras, Ilyas & Madry, How does batch normalization
help optimization?, NeurIPS 2018. The last probe is this project's.
"""

from math import isfinite, nan
from typing import Any

import torch
from torch import Tensor, nn

from mssbench.training.network import Network
from mssbench.training.pooling import FEATURES, CovariancePooling, covariance
from mssbench.training.transforms import TransformPooling

# The step sizes of Wang et al. for ResNet reach from 0.1 to 75, with batches of 256 and a loss that
# is the mean over them. The gradient of one sample is larger in a smaller batch, by the ratio.
_SMALLEST, _LARGEST, _OF_BATCH = 0.1, 75.0, 256
_STEPS = 10  # step sizes, where they took 50: the band is as wide, and the probe five times cheaper
# Change of the loss, relative to it, at which the truth of the gradient is tested. With 0.01 bends
# of the loss move the result by 2 % in an untrained network, with 0.001 by 0.2 %; rounding errors
# of a loss in single precision matter from 0.0001 on.
_SMALL = 0.001


def probe(network: Network, inputs: Tensor, labels: Tensor) -> dict[str, float]:
    """Return what a batch tells about the loss and the gradient, by the columns of the tables.

    inputs, labels: one batch. What cannot be computed, or is not finite, is NaN.
    """
    buffers = [buffer.clone() for buffer in network.buffers()]
    kept = network.last_features, network.last_pooled
    was_training = network.training
    network.train()
    found: dict[str, float] = {}
    try:
        _probe(network, inputs, labels, found)
    except Exception:  # noqa: S110  (LAPACK raises, and so may any method: the steps count it)
        pass
    finally:
        network.train(was_training)
        network.last_features, network.last_pooled = kept
        with torch.no_grad():
            for buffer, before in zip(network.buffers(), buffers, strict=True):
                buffer.copy_(before)
    return found


def _probe(network: Network, inputs: Tensor, labels: Tensor, found: dict[str, float]) -> None:
    """Add what a batch tells to what was found, as far as it can be computed."""
    with torch.no_grad():
        activation = network.stem(inputs)
    x = activation.detach().requires_grad_()
    loss = _loss(network, x, labels)
    features, pooled = network.last_features, network.last_pooled
    assert features is not None
    assert pooled is not None
    needed = (x, pooled) if features is x else (x, pooled, features)
    g, cotangent, *rest = torch.autograd.grad(loss, needed)
    of_features = rest[0] if rest else g.flatten(2)

    norm = float(g.double().norm())
    found |= {"probe_loss": loss.item(), "activation_gradient": norm}
    if isfinite(norm) and norm > 0 and isfinite(loss.item()):
        found |= _landscape(network, x.detach(), labels, g, loss.item(), norm)
    found["amplification"] = _amplification(network, features.detach(), cotangent)
    found["gradient_error"] = _gradient_error(
        network.pooling, features.detach(), cotangent, of_features
    )


def _loss(network: Network, activation: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(network.after_stem(activation), labels)


def _landscape(
    network: Network, x: Tensor, labels: Tensor, g: Tensor, loss: float, norm: float
) -> dict[str, float]:
    """Return the probes along the gradient. norm: ‖g‖. All but `truth` are NaN if one value is."""
    scale = len(x) / _OF_BATCH
    steps = [float(step) * scale for step in torch.linspace(_SMALLEST, _LARGEST, _STEPS)]
    losses, differences = [], []
    for step in steps:
        moved = (x + step * g).requires_grad_()
        there = _loss(network, moved, labels)
        (gradient,) = torch.autograd.grad(there, moved)
        losses.append(there.item())
        differences.append(float((gradient - g).double().norm()))
    if not all(map(isfinite, [*losses, *differences])):
        losses, differences = [nan] * _STEPS, [nan] * _STEPS
    betas = torch.tensor([d / (s * norm) for d, s in zip(differences, steps, strict=True)])
    low, middle, high = betas.double().quantile(torch.tensor([0.25, 0.5, 0.75]).double()).tolist()

    small = _SMALL * loss / norm**2
    with torch.no_grad():
        ahead = _loss(network, x + small * g, labels).item()
        behind = _loss(network, x - small * g, labels).item()
    band = max(losses) - min(losses)
    return {
        "band": band,
        "band_normalized": band / (steps[-1] * norm**2),
        "gradient_difference": max(differences),
        "difference_normalized": max(differences) / norm,
        "beta_low": low,
        "beta_median": middle,
        "beta_high": high,
        "truth": (ahead - behind) / (2 * small * norm**2),
    }


def _amplification(network: Network, features: Tensor, cotangent: Tensor) -> float:
    """Return the median over the batch of ‖dL/dA‖ / ‖dL/df(A)‖ for a function f of covariances A.

    NaN for pooling that does not form a covariance.
    """
    function = _of_covariance(network.pooling, features)
    if function is None:
        return nan
    a = covariance(features.to(cotangent.dtype), center=network.center).requires_grad_()
    y = function(a)
    n = a.shape[-1]
    rows, columns = torch.triu_indices(n, n)
    g = torch.zeros_like(y)
    g[:, rows, columns] = cotangent
    g = (g + g.mT) / 2
    (s,) = torch.autograd.grad(y, a, g)
    s = (s + s.mT) / 2
    return float((s.double().norm(dim=(-2, -1)) / g.double().norm(dim=(-2, -1))).median())


def _of_covariance(pooling: nn.Module, features: Tensor) -> Any:
    """Return the symmetric function of the covariance that a layer applies; None without one."""
    if isinstance(pooling, CovariancePooling) and not pooling.takes_features(features):
        return pooling.root_of_covariance
    if isinstance(pooling, TransformPooling) and pooling.is_symmetric:
        return pooling.of_covariance
    return None


def _gradient_error(
    pooling: nn.Module, features: Tensor, cotangent: Tensor, gradient: Tensor
) -> float:
    """Return the median over the batch of the relative error of dL/dX, X the pooled features.

    gradient: that of the method, (b, n, M). The reference is the gradient of the exact root for the
    same cotangent, computed in float64 from the features if there are fewer places than channels.
    In null directions, in which the root has no derivative, it is zero, and so is X. NaN for
    pooling that takes no root.
    """
    if not isinstance(pooling, CovariancePooling):
        return nan
    n = features.shape[1]
    exact = CovariancePooling(
        n, None, forward=FEATURES, precision="float64", center=pooling.center
    ).to(features.device)
    x = features.double().requires_grad_()
    (reference,) = torch.autograd.grad(exact(x), x, cotangent.double())
    error = (gradient.double() - reference).norm(dim=(-2, -1)) / reference.norm(dim=(-2, -1))
    return float(error.median())
