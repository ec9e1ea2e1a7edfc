"""MNIST against torchvision and its known counts, the stand-in against scikit-learn, and the law of the binarisation.

The statistical tests use fixed seeds; each fails a correct program with probability 1e-3 over its whole grid.
"""

import hashlib
import shutil
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy import stats

from svae_repro import paths
from svae_repro.data import load_mnist, mnist, source
from svae_repro.data.mnist import Pixels
from svae_repro.errors import UserError

FAILURE_RATE = 1e-3
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SVAE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(source, "_offline", {})
    return tmp_path / "home"


@pytest.fixture
def mirror():
    folder = paths.data_mirror()
    if folder is None or not (folder / mnist.FILES[0].path).exists():
        pytest.skip("SVAE_DATA_MIRROR offers no MNIST")
    return folder


def generator(seed, device="cpu"):
    return torch.Generator(device).manual_seed(seed)


# ---- the data


def test_real_mnist_is_what_torchvision_reads(home, mirror):
    from torchvision.datasets import MNIST

    images = load_mnist("real")
    assert (images.name, images.standin, images.shape) == ("mnist", False, (28, 28))
    assert images.description == f"real (mnist, sha256 {images.sha256[:12]}...)"
    root = home / "torchvision"
    shutil.copytree(mirror / "MNIST", root / "MNIST", copy_function=shutil.copyfile)
    train, test = MNIST(root, train=True, download=True), MNIST(root, train=False)  # found by md5, only unpacked
    assert torch.equal(torch.cat([images.train, images.validation]), train.data.flatten(1))
    assert torch.equal(torch.cat([images.train_labels, images.validation_labels]), train.targets)
    assert torch.equal(images.test, test.data.flatten(1)) and torch.equal(images.test_labels, test.targets)
    assert len(images.train) == 50_000 and len(images.validation) == 10_000
    # The counts of the digits 0 to 9 as they are published.
    assert train.targets.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert images.test_labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_the_pinned_sha256_are_those_of_the_files_torchvision_pins_by_md5(mirror):
    from torchvision.datasets import MNIST

    assert [file.path.rpartition("/")[2] for file in mnist.FILES] == [name for name, _ in MNIST.resources]
    for file, (_, md5) in zip(mnist.FILES, MNIST.resources, strict=True):
        content = (mirror / file.path).read_bytes()
        assert hashlib.md5(content).hexdigest() == md5
        assert hashlib.sha256(content).hexdigest() == file.sha256


def test_truncated_cached_mnist_is_a_clear_line(home, mirror):
    broken = home / "data" / mnist.FILES[2].path
    broken.parent.mkdir(parents=True)
    broken.write_bytes((mirror / mnist.FILES[2].path).read_bytes()[:-1])
    with pytest.raises(UserError, match=r"t10k-images-idx3-ubyte\.gz is corrupt.*delete it"):
        load_mnist("auto")


def test_without_any_way_to_get_it_auto_is_the_standin_and_real_one_line(home, monkeypatch):
    monkeypatch.delenv("SVAE_DATA_MIRROR", raising=False)
    monkeypatch.setattr(source, "reachable", lambda url: False)
    assert load_mnist("auto").standin
    with pytest.raises(UserError, match=r"\A[^\n]*no answer from https://[^\n]*SVAE_DATA_MIRROR[^\n]*\Z"):
        load_mnist("real")


def test_the_standin_is_all_of_sklearns_digits_and_says_so():
    from sklearn.datasets import load_digits

    images = load_mnist("standin")
    assert (images.name, images.standin, images.shape) == ("digits", True, (8, 8))
    assert images.description == "stand-in (scikit-learn digits, 8x8)"
    assert [len(images.train), len(images.validation), len(images.test)] == [1285, 256, 256]
    ours = torch.cat([images.train, images.validation, images.test]).numpy()
    labels = torch.cat([images.train_labels, images.validation_labels, images.test_labels]).numpy()
    assert ours.dtype == np.uint8 and labels.dtype == np.int64 and ours.max() == 255
    pixels, digits = load_digits(return_X_y=True)
    ours = [(label, *row) for label, row in zip(labels, np.rint(ours / (255 / 16)), strict=True)]
    assert sorted(ours) == sorted((label, *row) for label, row in zip(digits, pixels, strict=True))
    assert images.sha256 == load_mnist("standin", train_size=3).sha256


def test_a_size_keeps_the_first_images_and_must_be_positive():
    full, small = load_mnist("standin"), load_mnist("standin", train_size=7, validation_size=5, test_size=10**6)
    assert torch.equal(small.train, full.train[:7]) and torch.equal(small.train_labels, full.train_labels[:7])
    assert torch.equal(small.validation, full.validation[:5]) and torch.equal(small.test, full.test)
    with pytest.raises(UserError, match="at least 1"):
        load_mnist("standin", train_size=0)


# ---- binarisation

GREYS = torch.arange(256, dtype=torch.uint8).view(1, 256)  # one image with every level


@pytest.mark.parametrize("device", DEVICES)
def test_every_lane_of_the_random_words_is_uniform(device):
    """Also where bits were likely to be missing: the sign bit, and the top lane of each 64-bit word."""
    draws, bins = 4 * 2**20, 1024
    lanes = mnist._uniform(draws, [generator(1, device)], device).view(-1, 4).cpu().long() + 2**14
    assert lanes.min() >= 0 and lanes.max() < 2**15
    values = []
    for lane in range(4):
        high, low = lanes[:, lane] // 32, lanes[:, lane] % bins  # the two overlap: 15 bits, ten each
        values += [stats.chisquare(part.bincount(minlength=bins).numpy()).pvalue for part in (high, low)]
        other = lanes[:, (lane + 1) % 4]
        pairs = (lanes[:, lane] // 2**10) * 32 + other // 2**10  # neighbours are independent: 32 x 32 cells
        values.append(stats.chisquare(pairs.bincount(minlength=1024).numpy()).pvalue)
    assert min(values) > FAILURE_RATE / len(values)


def test_the_probability_of_every_grey_level_is_within_rounding():
    """Exact arithmetic: the share of the 2^15 equally likely integers below the threshold."""
    thresholds = Pixels(GREYS)._stored[0].tolist()
    for k, threshold in enumerate(thresholds):
        assert abs(Fraction(threshold + 2**14, 2**15) - Fraction(k, 255)) <= Fraction(1, 2**16)
    assert thresholds[0] == -(2**14) and thresholds[255] == 2**14


@pytest.mark.parametrize("device", DEVICES)
def test_dynamic_draws_bernoulli_and_never_flips_black_or_white(device):
    draws = 40_000
    batch = (
        Pixels(GREYS, device=device)
        .batch(torch.zeros(draws, dtype=torch.long, device=device), generator(2, device))
        .cpu()
    )
    assert batch.dtype == torch.float32 and batch.shape == (draws, 256)
    assert set(batch.unique().tolist()) == {0.0, 1.0}
    on = batch.double().sum(0).numpy()
    assert on[0] == 0 and on[255] == draws
    values = [stats.binomtest(int(on[k]), draws, k / 255).pvalue for k in range(1, 255)]
    assert min(values) > FAILURE_RATE / len(values)


def test_dynamic_is_drawn_anew_and_repeats_with_its_generator():
    pixels, index, own = Pixels(GREYS.repeat(10, 1)), torch.arange(10), generator(3)
    first, second = pixels.batch(index, own), pixels.batch(index, own)
    assert not torch.equal(first, second)
    assert torch.equal(pixels.batch(index, generator(3)), first)
    torch.manual_seed(4)
    from_global = pixels.batch(index)
    assert torch.equal(pixels.batch(index, generator(4)), from_global)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("runs", "size", "width"), [(3, 64, 784), (1, 5, 4), (4, 3, 7)])  # 3 x 7 leaves half a word
def test_runs_in_lockstep_draw_what_they_would_draw_alone(device, runs, size, width):
    images = torch.randint(256, (50, width), generator=generator(5)).byte()
    pixels = Pixels(images, device=device)
    index = torch.randint(50, (runs, size), generator=generator(6)).to(device)
    own, alone = ([generator(seed, device) for seed in range(runs)] for _ in range(2))
    for _ in range(2):  # the second batch too: the generators have moved on alike
        together = pixels.batch(index, own)
        assert together.shape == (runs, size, width)
        assert torch.equal(together, torch.stack([pixels.batch(i, g) for i, g in zip(index, alone, strict=True)]))
    assert pixels.batch(index, own[0]).shape == (runs, size, width)
    with pytest.raises(ValueError, match="5 generators"):
        pixels.batch(index, [generator(0, device)] * 5)


def test_the_fixed_binarisations():
    index = torch.zeros(3, dtype=torch.long)
    threshold = Pixels(GREYS, "threshold").batch(index)
    assert torch.equal(threshold, (GREYS / 255.0 > 0.5).float().expand(3, -1))
    assert torch.equal(Pixels(GREYS, "none").batch(index), (GREYS.float() / 255).expand(3, -1))
    images = GREYS.repeat(200, 1)
    static = Pixels(images, "static", seed=7)
    first = static.batch(torch.arange(200))
    assert torch.equal(static.batch(torch.arange(200)), first) and len(static) == 200
    assert torch.equal(Pixels(images, "static", seed=7).batch(torch.arange(200)), first)
    assert not torch.equal(Pixels(images, "static", seed=8).batch(torch.arange(200)), first)
    assert stats.binomtest(int(first[:, 51].sum()), 200, 0.2).pvalue > FAILURE_RATE
    with pytest.raises(UserError, match="'dymanic'"):
        Pixels(GREYS, "dymanic")
