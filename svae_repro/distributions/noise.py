"""Random numbers, drawn from one generator or from one generator per run."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Generators = torch.Generator | Sequence[torch.Generator] | None


def draw(
    sampler: Callable[..., Tensor],
    shape: Sequence[int],
    generator: Generators,
    device: torch.device,
    dtype: torch.dtype = torch.float64,
    runs_axis: int = 0,
) -> Tensor:
    """Noise of the given shape from ``sampler``, which is `torch.rand` or `torch.randn`.

    With a sequence of generators, generator r fills slice r of ``runs_axis``, exactly as it would fill it alone.

    Raises:
        ValueError: the number of generators is not the length of that axis.
    """
    if generator is None or isinstance(generator, torch.Generator):
        return sampler(shape, generator=generator, device=device, dtype=dtype)
    if len(generator) != shape[runs_axis]:
        raise ValueError(f"{len(generator)} generators for {shape[runs_axis]} runs: give one for each run")
    one_run = [n for axis, n in enumerate(shape) if axis != runs_axis]
    slices = [sampler(one_run, generator=g, device=device, dtype=dtype) for g in generator]
    return torch.stack(slices, dim=runs_axis) if len(slices) > 1 else slices[0].unsqueeze(runs_axis)
