"""What the tests of distributions share: seeds, points to look at, and one failure rate for a whole grid."""

import torch
from scipy import stats
from torch.nn.functional import normalize

RATE = 1e-3  # at which a whole grid of statistical tests fails by chance
DTYPES = [torch.float64, torch.float32]
KAPPAS = [0.0, 1e-8, 0.1, 1.0, 5.0, 20.0, 100.0, 1e3, 1e6]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def tensor(*values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype)


def directions(m):
    """Five unit vectors [5, m]: generic ones with a positive and a negative first coordinate, +-e1 and e2."""
    generic = normalize(torch.randn(2, m, generator=generator(m), dtype=torch.float64), dim=-1)
    generic[:, 0] = generic[:, 0].abs() * tensor(1, -1)
    e1, e2 = torch.eye(m, dtype=torch.float64)[:2]
    return torch.stack([generic[0], generic[1], e1, -e1, e2])


def critical_z(tests):
    """Two-sided normal quantile at which one of so many tests fails by chance at `RATE`."""
    return stats.norm.isf(RATE / tests / 2)
