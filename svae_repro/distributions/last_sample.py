"""What a distribution's last sample was made from."""

from typing import Any

import torch
from torch import Tensor


class LastSample:
    """The last sample of a distribution and its source, of which rounding may have taken some away.

    As the transforms of `torch.distributions` do with ``cache_size=1``, so that the density of a sample is exact.
    """

    def __init__(self):
        self._kept: tuple[Tensor, int, bool, Any] | None = None

    def keep(self, sample: Tensor, source: Any) -> Tensor:
        """Remember what ``sample`` was made from, and return the sample."""
        # An inference tensor does not count its changes.
        self._kept = None if sample.is_inference() else (sample, sample._version, sample.requires_grad, source)
        return sample

    def source_of(self, value: Tensor, *parameters: Tensor) -> Any:
        """What ``value`` was made from, None if it is not the last sample or has been changed in place since.

        Also None if it was drawn without gradients and those of ``parameters`` are wanted now: the source of a fixed
        point moves with them. And if it has been made a leaf since, whose own gradient is wanted: the source has none.
        """
        if self._kept is None or value is not self._kept[0]:
            return None
        _, version, differentiable, source = self._kept
        wanted = torch.is_grad_enabled() and any(p.requires_grad for p in parameters)
        changed = value._version != version or value.requires_grad != differentiable
        return None if changed or (wanted and not differentiable) else source
