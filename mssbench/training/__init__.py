"""Layers for networks that take a root of covariances: `CovariancePooling` and `Whitening`."""

from mssbench.training.pooling import CovariancePooling
from mssbench.training.whitening import Whitening

__all__ = ["CovariancePooling", "Whitening"]
