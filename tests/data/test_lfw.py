"""Faces: the real ones against scikit-learn and Pillow, checksums before parsing, split, stand-in."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from svae_repro import paths
from svae_repro.data import lfw, load_lfw, source
from svae_repro.data.lfw import FOLDER, PEOPLE
from svae_repro.errors import UserError


@pytest.fixture(autouse=True)
def no_memory_of_failed_downloads(monkeypatch):
    monkeypatch.setattr(source, "_offline", {})


@pytest.fixture(scope="module")
def mirror():
    folder = paths.data_mirror()
    if folder is None or not (folder / FOLDER.path).exists():
        pytest.skip("SVAE_DATA_MIRROR offers no faces")
    return folder


@pytest.fixture(scope="module")
def faces(mirror, tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("SVAE_HOME", str(tmp_path_factory.mktemp("faces")))
    yield load_lfw("real")
    patch.undo()


def every(data):
    parts = [("train", "train_labels"), ("validation", "validation_labels"), ("test", "test_labels")]
    images, labels = (torch.cat([getattr(data, part[i]) for part in parts]) for i in (0, 1))
    return images, labels


def test_the_faces_are_those_of_seven_people_and_say_that_they_are_not_funneled(faces):
    assert [len(faces.train), len(faces.validation), len(faces.test)] == [888, 200, 200]
    images, labels = every(faces)
    assert images.shape == (1288, 50 * 37) and images.dtype == torch.uint8
    assert labels.bincount().tolist() == list(PEOPLE.values()) and len(images.unique(dim=0)) == 1288
    for split in (faces.train_labels, faces.validation_labels, faces.test_labels):
        assert split.bincount(minlength=7).min() > 0
    assert not faces.standin and faces.sha256 == FOLDER.sha256
    assert faces.description.startswith("real (LFW, original images, not funneled: 7 people")


def test_a_face_is_what_pillow_cuts_out_of_its_file(faces, mirror):
    images, labels = every(faces)
    for label, person in enumerate(["Ariel_Sharon", "Colin_Powell"]):
        with Image.open(mirror / FOLDER.path / f"lfw/{person}/{person}_0007.jpg") as image:
            cut = np.asarray(image.crop((78, 70, 172, 195)).resize((37, 50)), float).mean(2)
        distance = (images.double() - torch.tensor(cut).flatten()).abs().amax(1)
        assert distance.min() <= 0.5 + 1e-4 and labels[distance.argmin()] == label


def test_the_split_is_the_end_of_scikit_learns_order(faces):
    """Its `RandomState(42).shuffle` of the files in the order of their names."""
    order = np.arange(1288)
    np.random.RandomState(42).shuffle(order)
    expected = np.repeat(np.arange(7), list(PEOPLE.values()))[order]
    assert torch.equal(every(faces)[1], torch.tensor(expected))


def test_nothing_is_parsed_before_its_checksum_is_verified(home, mirror, monkeypatch):
    import sklearn.datasets

    parsed = []
    monkeypatch.setattr(sklearn.datasets, "fetch_lfw_people", lambda **_: parsed.append(1))
    folder = home / "data" / FOLDER.path
    shutil.copytree(mirror / FOLDER.path, folder, copy_function=shutil.copyfile)
    broken = folder / "lfw/Tony_Blair/Tony_Blair_0001.jpg"
    content = bytearray(broken.read_bytes())
    content[1000] ^= 1
    broken.write_bytes(content)
    with pytest.raises(UserError, match=r"\A[^\n]*LFW/lfw_home is corrupt[^\n]*delete it[^\n]*\Z"):
        load_lfw("auto")
    broken.unlink()  # an incomplete copy is completed from the mirror
    monkeypatch.undo()
    monkeypatch.setenv("SVAE_HOME", str(home))
    assert not load_lfw("real").standin
    assert broken.read_bytes() == (mirror / FOLDER.path / "lfw/Tony_Blair/Tony_Blair_0001.jpg").read_bytes()


def test_without_any_way_to_get_it_auto_is_the_standin_and_real_one_line(home, monkeypatch):
    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.delenv("SVAE_DATA_MIRROR", raising=False)
    monkeypatch.setattr("sklearn.datasets._lfw._fetch_remote", offline)  # scikit-learn itself checks our arguments
    assert load_lfw("auto").standin
    with pytest.raises(UserError, match=r"\A[^\n]*LFW/lfw_home[^\n]*no network[^\n]*SVAE_DATA_MIRROR[^\n]*\Z"):
        load_lfw("real")


def test_a_download_takes_only_the_known_files(home, monkeypatch):
    import sklearn.datasets

    monkeypatch.delenv("SVAE_DATA_MIRROR", raising=False)
    content = {name: name.encode() for name in FOLDER.names[:5]}
    small = source.DataFolder(FOLDER.path, "", tuple(content))
    small = source.DataFolder(FOLDER.path, small.checksum(content), small.names)

    def fetch(data_home: Path, **options):
        assert options["funneled"] is False
        for name, part in (content | {"lfw/Nobody/Nobody_0001.jpg": b""}).items():
            path = data_home / "lfw_home" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(part)

    monkeypatch.setattr(sklearn.datasets, "fetch_lfw_people", fetch)
    assert source.read(small, lfw._download) == content
    cached = home / "data" / FOLDER.path
    assert sorted(str(f.relative_to(cached)) for f in cached.rglob("*.*")) == sorted(content)


def test_the_standin_is_patches_of_photographs_and_says_so():
    from sklearn.datasets import load_sample_image

    data = load_lfw("standin")
    assert data.standin and data.description == "stand-in (patches of scikit-learn's sample photographs, 50x37)"
    images, labels = every(data)
    assert lfw.labels(True) == ["china 1", "china 2", "china 3", "china 4", "flower 1", "flower 2", "flower 3"]
    assert lfw.labels(False)[3] == "George W Bush"
    assert labels.bincount().tolist() == [60] * 7 and data.shape == (50, 37) and len(data.test) == 60
    windows = np.lib.stride_tricks.sliding_window_view(load_sample_image("china.jpg").mean(2)[:, :160], (50, 37))
    for patch in images[labels == 0][:2].numpy().reshape(-1, 50, 37):
        candidates = np.argwhere(np.abs(windows[:, :, 0, 0] - patch[0, 0]) <= 0.5)
        assert min(np.abs(windows[i, j] - patch).max() for i, j in candidates) <= 0.5 + 1e-9
    assert torch.equal(load_lfw("standin").train, data.train)


def test_a_size_keeps_the_first_images_and_must_be_positive():
    data, short = load_lfw("standin"), load_lfw("standin", 10, 5, 7)
    assert torch.equal(short.train, data.train[:10]) and torch.equal(short.test, data.test[:7])
    with pytest.raises(UserError, match="at least 1"):
        load_lfw("standin", test_size=0)
