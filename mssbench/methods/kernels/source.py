"""The CUDA C++ source of a kernel variant as a single text, because NVRTC has no include folder."""

import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from mssbench.methods.kernels.variants import Variant

FOLDER = Path(__file__).parent
_INCLUDE = re.compile(r'^#include "(\w+\.cuh)"$', re.MULTILINE)
# Products and sums are contracted only where the source says fma, so that a GPU computes the same
# bits as the emulation. CuPy always sets ftz, so that the other users of the source set it too.
OPTIONS = ("--std=c++17", "--fmad=false", "--ftz=true")


@lru_cache
def source(variant: Variant) -> str:
    """Return the source of one variant; the name of its kernel is `variant.symbol`."""
    return sources([variant])


def sources(variants: Iterable[Variant]) -> str:
    """Return one source that contains several variants."""
    variants = list(variants)
    seen: set[str] = set()
    texts = [_text(f"{family}.cuh", seen) for family in dict.fromkeys(v.family for v in variants)]
    return "\n".join([*texts, *(v.declaration for v in variants), ""])


def _text(name: str, seen: set[str]) -> str:
    """Return the text of a file with all its includes expanded, each file once."""
    if name in seen:
        return ""
    seen.add(name)
    text = (FOLDER / name).read_text(encoding="utf-8").replace("#pragma once\n", "")
    return _INCLUDE.sub(lambda match: _text(match[1], seen), text)
