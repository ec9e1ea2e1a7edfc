"""The circle of Figure 1: three vMF clusters on S^1, seen through a noisy non-linear map to R^100.

The paper (Section 5.1) says no more than that sentence. So these are our choices, every one a parameter: the means at
equal distances and the weights equal, so that no direction is special; kappa = 10, a standard deviation of 0.33 rad,
which leaves the gaps between the clusters thin but not empty; a fixed random network of two tanh layers as the map;
standard deviation 0.1 of the noise beside 1 of every feature.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from svae_repro.errors import UserError


@dataclass(frozen=True, eq=False)
class Split:
    """N points: where they lie on the circle, which component drew them, and what a model sees of them."""

    angle: Tensor  # [N] float32, radians in [-pi, pi]
    cluster: Tensor  # [N] int64, 0, 1, 2
    x: Tensor  # [N, dim] float32

    def __len__(self) -> int:
        return len(self.angle)


@dataclass(frozen=True, eq=False)
class Circle:
    """The three splits; `means` (radians) and `kappas` are those of the mixture."""

    train: Split
    validation: Split
    test: Split
    means: tuple[float, ...]
    kappas: tuple[float, ...]
    sha256: str  # of all arrays
    name: str = "circle"
    standin: bool = False  # generated, but it is the real thing: the paper's circle is generated too

    @property
    def description(self) -> str:
        """What to print after `data: `."""
        return f"generated ({self.name}, sha256 {self.sha256[:12]}...)"


def load_circle(
    n: int = 5000,
    seed: int = 0,
    kappas: tuple[float, ...] = (10.0, 10.0, 10.0),
    noise: float = 0.1,
    dim: int = 100,
    map_seed: int = 0,
) -> Circle:
    """`n` training points, and `n // 5` each for validation and test.

    `seed` draws the points and their noise, `map_seed` the map, which all seeds therefore share.

    Raises:
        UserError: `n` below 5, a negative noise or a negative kappa.
    """
    if n < 5 or noise < 0 or min(kappas) < 0:
        raise UserError(f"circle needs n >= 5, noise >= 0 and kappas >= 0, not n={n}, noise={noise}, kappas={kappas}")
    generator = np.random.default_rng(seed)
    total = n + 2 * (n // 5)
    means = 2 * np.pi * np.arange(len(kappas)) / len(kappas)
    cluster = generator.integers(len(kappas), size=total)
    angle = means[cluster] + generator.vonmises(0.0, np.asarray(kappas)[cluster])
    # Rounded, because the last bits of cosine and tanh differ between machines and the checksum should not.
    angle = np.round(np.arctan2(np.sin(angle), np.cos(angle)), 5)
    x = np.round(circle_map(angle, dim, map_seed) + noise * generator.normal(size=(total, dim)), 4)
    arrays = angle.astype(np.float32), cluster.astype(np.int64), x.astype(np.float32)
    sha256 = hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
    parts = [torch.from_numpy(array).split([n, n // 5, n // 5]) for array in arrays]
    return Circle(*(Split(*split) for split in zip(*parts, strict=True)), tuple(means.tolist()), tuple(kappas), sha256)


def circle_map(angle: np.ndarray, dim: int = 100, map_seed: int = 0) -> np.ndarray:
    """The noiseless curve: `angle` [...] in radians to [..., dim] float64, smooth and without self-intersection.

    Every feature has mean 0 and variance 1 over the uniform circle, whatever the data. With the default seed a fifth of
    that variance is no linear function of the point, and |f(u) - f(v)| lies between 7 and 25 times |u - v|.
    """
    generator = np.random.default_rng(map_seed)
    hidden = 32
    first, bias = 2 * generator.normal(size=(2, hidden)), generator.normal(size=hidden)
    second = generator.normal(size=(hidden, dim)) / np.sqrt(hidden)

    def network(angle):
        point = np.stack([np.cos(angle), np.sin(angle)], axis=-1)  # [..., 2]
        return np.tanh(np.tanh(point @ first + bias) @ second)

    grid = network(2 * np.pi * np.arange(1024) / 1024)
    return (network(angle) - grid.mean(axis=0)) / grid.std(axis=0)
