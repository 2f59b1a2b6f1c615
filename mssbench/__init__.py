"""Benchmark differentiable batched matrix square roots: time, error and gradient error together."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mssbench.cli.notebook import run as run
    from mssbench.methods.features import sqrtm_of_features as sqrtm_of_features
    from mssbench.methods.logarithm import logm as logm
    from mssbench.methods.method import Root as Root
    from mssbench.methods.norms import normalized as normalized
    from mssbench.methods.registry import register_backward as register_backward
    from mssbench.methods.registry import register_forward as register_forward
    from mssbench.methods.sqrtm import chosen as chosen
    from mssbench.methods.sqrtm import isqrtm as isqrtm
    from mssbench.methods.sqrtm import sqrtm as sqrtm
    from mssbench.methods.whitening import whitening as whitening
    from mssbench.problems.capture import capture as capture
    from mssbench.problems.registry import register_modifier as register_modifier
    from mssbench.problems.registry import register_problem as register_problem
    from mssbench.report.frames import load as load

__version__ = "0.1.0"

# The module in which each public name is defined.
_PUBLIC = {
    "Root": "methods.method",
    "capture": "problems.capture",
    "chosen": "methods.sqrtm",
    "isqrtm": "methods.sqrtm",
    "load": "report.frames",
    "logm": "methods.logarithm",
    "normalized": "methods.norms",
    "register_backward": "methods.registry",
    "register_forward": "methods.registry",
    "register_modifier": "problems.registry",
    "register_problem": "problems.registry",
    "sqrtm": "methods.sqrtm",
    "sqrtm_of_features": "methods.features",
    "whitening": "methods.whitening",
}
# A package that can be called; mssbench/run/__init__.py says why.
_CALLABLE_PACKAGE = "run"
__all__ = [  # noqa: PLE0604  (every key is a text)
    "__version__",
    *_PUBLIC,
    _CALLABLE_PACKAGE,
]


def __getattr__(name: str) -> Any:
    """Return a public name of the package, whose module is imported only when it is first used.

    So `mssbench.load`, which reads a table, does not import torch. Raises AttributeError for a name
    that is not public.
    """
    if name not in _PUBLIC and name != _CALLABLE_PACKAGE:
        raise AttributeError(f"module 'mssbench' has no attribute {name!r}")
    import importlib

    if name == _CALLABLE_PACKAGE:
        return importlib.import_module(f"mssbench.{name}")
    return getattr(importlib.import_module(f"mssbench.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
