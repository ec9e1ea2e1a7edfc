"""Labeled Faces in the Wild: the seven people with at least 70 images, and a stand-in made of sample photographs.

Reference: Huang et al. (2007). The images are the original ones, not the *funneled* ones (aligned by Huang et al.
2007b) that scikit-learn takes by default. Letters: N images of a split, P pixels of an image.
"""

import hashlib
import tempfile
import warnings
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from svae_repro import paths
from svae_repro.data import source as files
from svae_repro.data.mnist import Images, checked_limits, split_images

PEOPLE = {  # in the order of their labels -> number of images
    "Ariel Sharon": 77,
    "Colin Powell": 236,
    "Donald Rumsfeld": 121,
    "George W Bush": 530,
    "Gerhard Schroeder": 109,
    "Hugo Chavez": 71,
    "Tony Blair": 144,
}
MINIMUM = 70  # images of a person who is taken in
RESIZE = 0.4  # of the 125 rows and 94 columns in the middle of an image, so that 50 x 37 are left
SHAPE = (50, 37)
HELD_OUT = 200  # images that test, and as many that validate
FOLDER = files.DataFolder(
    "LFW/lfw_home",
    "ebe053effbbda699b5152adca112d89b745a5bfd0d0a35eb57ccf4724ca381bd",
    (
        *("pairs.txt", "pairsDevTest.txt", "pairsDevTrain.txt"),  # scikit-learn asks for them and reads none
        *(
            f"lfw/{person}/{person}_{number:04d}.jpg"
            for person, count in ((name.replace(" ", "_"), count) for name, count in PEOPLE.items())
            for number in range(1, count + 1)
        ),
    ),
)
# Stand-in: a photograph of scikit-learn -> into how many upright strips it is cut. A strip takes a person's place.
PHOTOGRAPHS = {"china.jpg": 4, "flower.jpg": 3}
PATCHES = 60  # from each strip


def load_lfw(
    source: str = "auto",
    train_size: int | None = None,
    validation_size: int | None = None,
    test_size: int | None = None,
) -> Images:
    """Faces of 50 x 37 grey pixels: 888 images train, 200 validate, 200 test; labels are places in `PEOPLE`.

    Cropping, scaling and the fixed shuffled order are those of scikit-learn's `fetch_lfw_people`; the last 200 images
    of that order test and the 200 before them validate, and everybody is in every split. Grey levels are rounded to
    bytes.

    The stand-in is patches of scikit-learn's two sample photographs, cut into seven strips in the people's place. A
    size keeps at most that many images of a split, its first ones. Raises UserError for an unknown `source`, a size
    below one, corrupt files, or with `"real"` where there is no way to get them.
    """
    limits = checked_limits(train_size, validation_size, test_size)
    return files.choose(source, lambda: _real(limits), lambda: _patches(limits))


def labels(standin: bool) -> list[str]:
    """Names of the seven labels: people, or the strips that stand in for them."""
    if not standin:
        return list(PEOPLE)
    return [f"{Path(name).stem} {strip + 1}" for name, strips in PHOTOGRAPHS.items() for strip in range(strips)]


def _real(limits: tuple) -> Images:
    images, labels = _faces(paths.data_cache(), paths.data_mirror())
    about = f"LFW, original images, not funneled: {len(PEOPLE)} people with at least {MINIMUM} images"
    return split_images("lfw", False, FOLDER.sha256, SHAPE, images, labels, HELD_OUT, limits, about)


@lru_cache(maxsize=1)  # a process that trains many cells decodes the images once
def _faces(_cache: Path, _mirror: Path | None) -> tuple[Tensor, Tensor]:
    """Images [1288, P] uint8 and labels [1288], of which every byte was verified before any was parsed."""
    from sklearn.datasets import fetch_lfw_people  # slow to import, and needed only here

    with tempfile.TemporaryDirectory() as home:  # scikit-learn leaves pickles beside the images
        for name, content in files.read(FOLDER, _download).items():
            path = Path(home) / "lfw_home" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        people = fetch_lfw_people(
            data_home=home,
            funneled=False,
            min_faces_per_person=MINIMUM,
            resize=RESIZE,
            download_if_missing=False,
        )
    return _bytes(people.images), torch.from_numpy(people.target)


def _bytes(images: np.ndarray) -> Tensor:
    """Grey levels [N, P] as bytes of images [N, rows, columns] in [0, 1]."""
    return torch.from_numpy(np.rint(255 * images).astype(np.uint8)).flatten(1)


def _download(_: files.DataFile, folder: Path) -> None:
    """The whole data set, 180 MB, of which scikit-learn verifies the checksum."""
    from sklearn.datasets import fetch_lfw_people

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its second attempt, which is the least it takes
        fetch_lfw_people(data_home=folder, funneled=False, min_faces_per_person=MINIMUM, n_retries=1, delay=0.1)


def _patches(limits: tuple) -> Images:
    from sklearn.datasets import load_sample_image

    rng = np.random.default_rng(0)
    patches, labels = [], []
    for name, strips in PHOTOGRAPHS.items():
        for strip in np.array_split(load_sample_image(name).mean(2) / 255, strips, axis=1):
            corners = rng.integers(np.array(strip.shape) - SHAPE, size=(PATCHES, 2), endpoint=True)
            patches += [strip[row : row + SHAPE[0], column : column + SHAPE[1]] for row, column in corners]
            labels += [max(labels, default=-1) + 1] * PATCHES
    order = rng.permutation(len(patches))
    images, labels = _bytes(np.stack(patches)[order]), torch.tensor(labels)[order]
    sha256 = hashlib.sha256(images.numpy().tobytes() + labels.numpy().astype("<i8").tobytes()).hexdigest()
    about = "patches of scikit-learn's sample photographs, 50x37"
    return split_images("photographs", True, sha256, SHAPE, images, labels, len(images) // 7, limits, about)
