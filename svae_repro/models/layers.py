"""Layers whose weights carry a leading runs axis, so that the repetitions of an experiment train as one program.

Letters for shapes, here and in the models: R runs, B batch, m ambient dimension.
"""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class RunsLinear(nn.Module):
    """R independent affine maps: x [R, B, inputs] -> [R, B, outputs].

    Args:
        inputs, outputs: widths.
        generators: one for each run; weights are Glorot uniform (Glorot and Bengio 2010), biases zero.
    """

    def __init__(self, inputs: int, outputs: int, generators: Sequence[torch.Generator]):
        super().__init__()
        bound = math.sqrt(6 / (inputs + outputs))
        weights = [torch.rand(inputs, outputs, generator=g) * (2 * bound) - bound for g in generators]
        self.weight = nn.Parameter(torch.stack(weights))
        self.bias = nn.Parameter(torch.zeros(len(weights), 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x, self.weight)


def mlp(widths: Sequence[int], generators: Sequence[torch.Generator]) -> nn.Sequential:
    """Multi-layer perceptron with ReLU between its layers and none after the last."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [RunsLinear(inputs, outputs, generators), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
