"""MNIST, its stand-in, and the binarisation of grey pixels (Table 1, Table 2, Table 3).

Letters: R runs, B batch, N images of a split, P pixels of an image.
"""

import gzip
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from svae_repro.data import source as files
from svae_repro.errors import UserError

BINARISATIONS = ("dynamic", "static", "threshold", "none")
FILES = [
    files.DataFile(f"MNIST/raw/{name}-ubyte.gz", sha256)
    for name, sha256 in [
        ("train-images-idx3", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        ("train-labels-idx1", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        ("t10k-images-idx3", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        ("t10k-labels-idx1", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    ]
]


@dataclass(frozen=True, eq=False)
class Images:
    """Grey images and their labels in three splits; `sha256` identifies the whole data set, limits or not."""

    name: str  # "mnist", "lfw" or the stand-in's: "digits", "photographs"
    standin: bool
    sha256: str
    shape: tuple[int, int]  # rows, columns; P is their product
    train: Tensor  # [N, P] uint8, 0 black to 255 white
    validation: Tensor
    test: Tensor
    train_labels: Tensor  # [N] int64
    validation_labels: Tensor
    test_labels: Tensor
    about: str  # what they are, in a few words

    @property
    def description(self) -> str:
        """What to print after `data: `."""
        return f"stand-in ({self.about})" if self.standin else f"real ({self.about}, sha256 {self.sha256[:12]}...)"


def load_mnist(
    source: str = "auto",
    train_size: int | None = None,
    validation_size: int | None = None,
    test_size: int | None = None,
) -> Images:
    """MNIST: the first 50,000 training images train, the last 10,000 validate, the 10,000 test images test.

    The stand-in is scikit-learn's 1,797 digits of 8x8 pixels in a fixed shuffled order, 5:1:1 as well. A size keeps at
    most that many images of a split, its first ones whatever their class. Raises UserError for an unknown `source`, a
    size below one, corrupt files, or with `"real"` where there is no way to get them.
    """
    limits = checked_limits(train_size, validation_size, test_size)
    return files.choose(source, lambda: _mnist(limits), lambda: _digits(limits))


def checked_limits(*limits: int | None) -> tuple[int | None, ...]:
    """The largest sizes of the three splits; a `UserError` for one below 1."""
    if any(limit is not None and limit < 1 for limit in limits):
        raise UserError(f"split sizes must be at least 1, not {limits}")
    return limits


class Pixels:
    """A split on one device, binarised as its batches are drawn.

    Args:
        images: [N, P] uint8.
        binarisation: `"dynamic"`, a new Bernoulli(pixel/255) at every call (the paper's; within 1.6e-5 of that
            probability, black and white exact); `"static"`, one such draw for good, made from `seed` on the CPU;
            `"threshold"`, pixel/255 > 0.5; `"none"`, pixel/255 itself. Any other is a UserError.
    """

    def __init__(self, images: Tensor, binarisation: str = "dynamic", device: str = "cpu", seed: int = 0):
        if binarisation not in BINARISATIONS:
            raise UserError(f"unknown binarisation {binarisation!r}: choose one of {', '.join(BINARISATIONS)}")
        self.binarisation = binarisation
        self._stored = images.to(device)  # [N, P] uint8
        if binarisation == "threshold":
            self._stored = (self._stored > 127).byte()
        elif binarisation == "static":
            once = Pixels(images).batch(torch.arange(len(images)), torch.Generator().manual_seed(seed))
            self._stored = once.byte().to(device)
        elif binarisation == "dynamic":
            # Pixel k is on when a uniform integer of [-2^14, 2^14) lies below round(2^15 k/255) - 2^14, the rounded
            # term being 128 k + (k + 1) // 2. Random bits are what a batch costs: an integer needs half a float's.
            k = self._stored.short()
            self._stored = ((k + 1) >> 1).sub_(2**14).add_(k, alpha=128)  # [N, P] int16

    def __len__(self) -> int:
        return len(self._stored)

    @property
    def device(self) -> torch.device:
        return self._stored.device

    def batch(self, index: Tensor, generator: torch.Generator | Sequence[torch.Generator] | None = None) -> Tensor:
        """The images [..., P] float32 that `index` [...] int64, on the same device, names.

        `generator` draws the dynamic binarisation; None means torch's own. With `index` [R, B] and a list of R
        generators, run r draws from its own, bit for bit as if it were alone.
        """
        rows = self._stored.index_select(0, index.flatten()).view(*index.shape, -1)  # [..., P]
        if self.binarisation == "none":
            return rows / 255
        if self.binarisation != "dynamic":
            return rows.float()
        generators = [generator] if generator is None or isinstance(generator, torch.Generator) else generator
        if len(generators) not in (1, len(index)):
            raise ValueError(f"{len(generators)} generators for an index of shape {tuple(index.shape)}")
        uniform = _uniform(rows.numel() // len(generators), generators, rows.device).view(rows.shape)
        return torch.lt(uniform, rows, out=torch.empty(rows.shape, device=rows.device))


def _uniform(size: int, generators: Sequence[torch.Generator | None], device: torch.device) -> Tensor:
    """Uniform integers of [-2^14, 2^14): [R, size] int16, each row from its own generator, four to a random word."""
    words = torch.empty(len(generators), -(-size // 4), dtype=torch.int64, device=device)
    for row, generator in zip(words, generators, strict=True):
        row.random_(-(2**63), None, generator=generator)  # all 64 bits; without bounds the sign bit stays 0
    return words.view(torch.int16)[:, :size] >> 1  # an arithmetic shift: it keeps the sign


def _mnist(limits: tuple) -> Images:
    images, labels, test, test_labels = (_parse(files.read(file, _download)) for file in FILES)
    images, labels = torch.cat([images.flatten(1), test.flatten(1)]), torch.cat([labels, test_labels])
    return split_images("mnist", False, files.digest(FILES), (28, 28), images, labels, 10_000, limits, "mnist")


def _digits(limits: tuple) -> Images:
    from sklearn.datasets import load_digits  # slow to import, and needed only here

    images, labels = load_digits(return_X_y=True)  # pixels 0 to 16
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = np.rint(images[order] * (255 / 16)).astype(np.uint8), labels[order]
    sha256 = hashlib.sha256(images.tobytes() + labels.astype("<i8").tobytes()).hexdigest()
    images, labels, about = torch.tensor(images), torch.tensor(labels), "scikit-learn digits, 8x8"
    return split_images("digits", True, sha256, (8, 8), images, labels, len(images) // 7, limits, about)


def split_images(name, standin, sha256, shape, images: Tensor, labels: Tensor, held_out, limits, about: str) -> Images:
    """The last `held_out` images test, as many before them validate; of each split at most its limit."""
    sizes = [len(images) - 2 * held_out, held_out, held_out]
    splits = [
        part[:limit] for data in (images, labels.long()) for part, limit in zip(data.split(sizes), limits, strict=True)
    ]
    return Images(name, standin, sha256, shape, *splits, about)


def _parse(content: bytes) -> Tensor:
    """An IDX file, gzipped: two zero bytes, the type (8: uint8), the rank, the big-endian sizes, the values."""
    raw = bytearray(gzip.decompress(content))
    sizes = np.frombuffer(raw, ">u4", count=raw[3], offset=4).tolist()
    return torch.frombuffer(raw, dtype=torch.uint8, offset=4 + 4 * len(sizes)).view(sizes)


def _download(file: files.DataFile, folder: Path) -> None:
    from torchvision.datasets import MNIST  # its import takes a second that every process with a filled cache saves
    from torchvision.datasets.utils import download_url

    name = Path(file.path).name
    host = next((host for host in MNIST.mirrors if files.reachable(host + name)), None)
    if host is None:
        raise OSError(f"no answer from {' or '.join(MNIST.mirrors)}")
    download_url(host + name, str(folder), name, md5=dict(MNIST.resources)[name])
