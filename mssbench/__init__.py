"""Benchmark differentiable batched matrix square roots: time, error and gradient error together."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mssbench.roots import isqrtm as isqrtm
    from mssbench.roots import sqrtm as sqrtm
    from mssbench.table import load as load

__version__ = "0.1.0"
__all__ = ["__version__", "isqrtm", "load", "sqrtm"]

_PUBLIC = {"sqrtm": "roots", "isqrtm": "roots", "load": "table"}


def __getattr__(name: str) -> Any:
    """Public names load their module only when used: reading a table must not import torch."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'mssbench' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"mssbench.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
