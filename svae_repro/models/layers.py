"""Layers whose weights carry a leading runs axis, so that the repetitions of an experiment train as one program.

Letters for shapes, here and in the models: R runs, B batch, m ambient dimension.
"""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


def glorot_uniform(inputs: int, outputs: int, generators: Sequence[torch.Generator]) -> Tensor:
    """Initial weights [R, inputs, outputs], uniform in +-sqrt(6 / (inputs + outputs)) (Glorot and Bengio 2010)."""
    bound = math.sqrt(6 / (inputs + outputs))
    return torch.stack([torch.rand(inputs, outputs, generator=g) * (2 * bound) - bound for g in generators])


class RunsLinear(nn.Module):
    """R independent affine maps: x [R, B, inputs] -> [R, B, outputs].

    Args:
        inputs, outputs: widths.
        generators: one for each run; weights are Glorot uniform, biases zero.
    """

    def __init__(self, inputs: int, outputs: int, generators: Sequence[torch.Generator]):
        super().__init__()
        self.weight = nn.Parameter(glorot_uniform(inputs, outputs, generators))
        self.bias = nn.Parameter(torch.zeros(len(self.weight), 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x, self.weight)


def mlp(widths: Sequence[int], generators: Sequence[torch.Generator]) -> nn.Sequential:
    """Multi-layer perceptron with ReLU between its layers and none after the last."""
    # In place: the product behind a ReLU is nobody else's, and writing it once more costs an M1+M2 step 6 to 9 %.
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [RunsLinear(inputs, outputs, generators), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1])
