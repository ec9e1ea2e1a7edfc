"""Unordered pairs of nodes as integers, and the pairs that are no edge counted through without listing them.

The pair {u, v} with u < v is number v (v - 1) / 2 + u: the lower triangle of an adjacency matrix, row by row.
"""

import torch
from torch import Tensor


def count(nodes: int) -> int:
    """The number of unordered pairs of different nodes."""
    return nodes * (nodes - 1) // 2


def encode(pairs: Tensor) -> Tensor:
    """Numbers [...] of ``pairs`` [..., 2] int64 of different nodes, in either order."""
    low, high = pairs.amin(-1), pairs.amax(-1)
    return high * (high - 1) // 2 + low


def decode(number: Tensor) -> Tensor:
    """Pairs [..., 2] with u < v from their numbers [...] int64; exact for every number below 2^52."""
    high = ((1 + (1 + 8 * number.double()).sqrt()) / 2).long()
    high = high - (high * (high - 1) // 2 > number).long()  # the root may be rounded across a whole number
    high = high + (high * (high + 1) // 2 <= number).long()
    return torch.stack([number - high * (high - 1) // 2, high], dim=-1)


def non_edges(rank: Tensor, edges: Tensor) -> Tensor:
    """The pairs of rank 0, 1, 2 ... among those that are no edge.

    Args:
        rank: [..., K] int64, below `count` less the number of edges.
        edges: numbers of the edges [..., E], ascending and without repetition; the leading axes are those of ``rank``.

    Returns:
        Pairs [..., K, 2].
    """
    before = edges - torch.arange(edges.shape[-1], device=edges.device)  # non-edges that precede each edge
    return decode(rank + torch.searchsorted(before, rank.contiguous(), right=True))
