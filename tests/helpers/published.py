"""What published layers return for fixed inputs, computed once by the authors' own code."""

import json
from pathlib import Path

import torch

# MPNCOV of fast-MPN-COV (Li et al., CVPR 2018) and IterNorm (Huang et al., CVPR 2019), run in
# float64 by torch 2.13 on the inputs of `made`: outputs, gradients and running statistics.
PUBLISHED = json.loads((Path(__file__).parent / "published_layers.json").read_text())


def made(shape: tuple[int, ...], prime: int, modulus: int) -> torch.Tensor:
    """Numbers between -1/2 and 1/2 in a fixed, irregular order, which need no random generator."""
    numbers = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return ((numbers * prime % modulus) / modulus - 0.5).reshape(shape)
