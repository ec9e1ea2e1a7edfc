"""QM9's dihedrals: known counts, encoding, the published archive's format, the stand-in, bad files."""

import hashlib
import io
import tarfile

import numpy as np
import pytest
import torch

from svae_repro import paths
from svae_repro.data import load_qm9, qm9, source
from svae_repro.dihedrals import dihedral, molecule, torsion_chain
from svae_repro.errors import UserError
from svae_repro.evaluation import angular_error


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch):
    monkeypatch.setattr(source, "_offline", {})
    qm9._real.cache_clear()
    yield
    qm9._real.cache_clear()


@pytest.fixture
def mirror():
    folder = paths.data_mirror()
    if folder is None or not (folder / "QM9").exists():
        pytest.skip("SVAE_DATA_MIRROR offers no QM9")
    return folder


def check(data):
    for split in (data.train, data.validation, data.test):
        assert split.angle.shape == split.present.shape == (len(split), qm9.SLOTS)
        assert split.angle.dtype == torch.float32 and split.present.dtype == torch.bool
        assert split.present[:, 0].all()  # none without any
        assert (split.present[:, 1:] <= split.present[:, :-1]).all()  # filled from the left
        assert (split.angle[~split.present] == 0).all() and (split.angle.abs() <= np.float32(np.pi)).all()


def test_real_molecules_have_their_known_counts(home, mirror):
    data = load_qm9("real")
    check(data)
    assert [len(data.train), len(data.validation), len(data.test)] == [108_301, 10_000, 10_000]
    assert not data.standin and data.description == f"real (QM9 without fluorine, sha256 {data.sha256[:12]}...)"
    present = torch.cat([data.train.present, data.validation.present, data.test.present])
    assert present.sum() == PATHS and present[:, -1].any()  # no slot too many
    assert present.sum(1).bincount().argmax() == 7
    # sp2 and sp3: planar angles and gauche ones are the common ones, and no handedness is preferred by much
    degrees = data.train.angle[data.train.present].rad2deg()
    assert ((degrees.abs() < 5) | (degrees.abs() > 175)).double().mean() == pytest.approx(0.29, abs=0.02)
    assert (degrees > 0).double().mean() == pytest.approx(0.5, abs=0.03)


PATHS = 885_326  # counted by another program when the rules were made


def test_a_real_molecules_slots_are_its_own_dihedrals(home, mirror):
    data = load_qm9("real", train_size=50)
    angles, molecules, _ = qm9._real()
    order = np.random.default_rng(0).permutation(len(angles))
    for k in range(50):  # one at a time, hydrogens included, against all at once without them
        alone = molecule(*molecules[angles.index[order[k]]])
        slots = data.train.angle[k, data.train.present[k]].numpy()
        np.testing.assert_allclose(slots, alone.angles, atol=1e-6)
    assert len(data.train) == 50


def test_the_example_is_of_the_test_split_with_its_hydrogens(home, mirror):
    data = load_qm9("real")
    found = data.example
    assert len(found.angles) == 5 and (np.abs(np.sin(found.angles)) > 0.5).sum() >= 3 and (found.numbers == 1).any()
    np.testing.assert_allclose(dihedral(found.positions[found.paths]), found.angles)
    rows = data.test.angle[data.test.present.sum(1) == 5, :5].numpy()
    assert np.abs(rows - found.angles).max(1).min() < 1e-6


def test_the_encoding_is_cosine_and_sine_and_zero_where_nothing_is():
    data = load_qm9("standin")
    x = data.train.encode()
    assert x.shape == (len(data.train), 2 * qm9.SLOTS) and x.dtype == torch.float32
    cos, sin = x[:, ::2], x[:, 1::2]
    torch.testing.assert_close(cos.square() + sin.square(), data.train.present.float())
    decoded, angle = torch.atan2(sin, cos)[data.train.present], data.train.angle[data.train.present]
    assert angular_error(decoded, angle).max() < 1e-4


# The stand-in


def test_the_standin_is_made_of_chains_with_dependent_torsions():
    data = load_qm9("standin")
    check(data)
    assert data.standin and data.description.startswith("stand-in (torsion chains")
    assert [len(data.train), len(data.validation), len(data.test)] == [2144, 428, 428]
    degrees, both = data.train.angle.rad2deg(), data.train.present[:, 1]
    nearest = (degrees[data.train.present].abs() - torch.tensor([[65.0], [180.0]])).abs().min(0).values
    assert nearest.max() < 40
    gauche = (degrees[both, :2].abs() < 120).all(1)
    same_sign = degrees[both][gauche, :2].sign().prod(1) > 0
    assert same_sign.double().mean() > 0.85  # the pentane effect


def test_the_standin_is_the_same_everywhere():
    assert load_qm9("standin").sha256[:16] == STANDIN_SHA256
    assert load_qm9("standin", train_size=7, test_size=3).sha256[:16] == STANDIN_SHA256
    assert [len(s) for s in vars(load_qm9("standin", 7, 5, 3)).values() if isinstance(s, qm9.Angles)] == [7, 5, 3]


STANDIN_SHA256 = "3e7cf5f52ad9828e"


# Files


def archive(molecules):
    """An archive in the format of QM9's (Ramakrishnan et al. 2014): {number: (symbols, positions)}."""
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w:bz2") as tar:
        for number, (symbols, positions) in molecules.items():
            rows = [
                f"{s}\t" + "\t".join(f"{v: .10f}" for v in p) + "\t-0.5"
                for s, p in zip(symbols, positions, strict=True)
            ]
            text = "\n".join(
                [str(len(rows)), f"gdb {number}\t157.7\t0.", *rows, "1.0\t2.0", "C\tC", "InChI=1S\tInChI=1S"]
            )
            text = text.replace("0.0000012000", "1.2*^-6")
            info = tarfile.TarInfo(f"dsgdb9nsd_{number:06d}.xyz")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return memory.getvalue()


def failures(*numbers):
    rows = [f"  {k}  C1=CC  0.1 0.2 0.3" for k in numbers]
    return "\n".join([*["3 molecules failed"] * 9, *rows, "====", ""]).encode()


def test_the_published_archive_is_parsed_in_order_without_fluorine_and_failures():
    chain = torsion_chain(np.radians([60.0, 180.0]))
    chain[0] = [1.2e-6, -0.0126981359, 1.0858041578]
    given = {
        7: ("CCCCO", chain),
        3: ("CH", chain[:2]),
        9: ("CF", chain[:2]),
        21725: ("CCCNO", chain),
        5: ("HO", chain[1:3]),
    }
    found = qm9._parse(archive(given), failures(21725, 21726))
    assert found.numbers.tolist() == [6, 1, 1, 8, 6, 6, 6, 6, 8] and found.numbers.dtype == np.uint8
    assert found.offsets.tolist() == [0, 2, 4, 9] and found.offsets.dtype == np.int32
    np.testing.assert_array_equal(found.positions[4:], np.round(chain, 10).astype(np.float32))


def test_without_the_arrays_the_published_files_serve_and_have_the_same_checksum(home, mirror, monkeypatch):
    with np.load(mirror / qm9.ARRAYS.path) as stored:
        ids, numbers, positions, offsets = (stored[k] for k in ("ids", "Z", "pos", "offsets"))
    first = {}
    for k in range(60):
        atoms = slice(offsets[k], offsets[k + 1])
        first[int(ids[k])] = ["?HXXXXCNOF"[z] for z in numbers[atoms]], positions[atoms].astype(float)
    content = {"dsgdb9nsd.xyz.tar.bz2": archive(first), "uncharacterized.txt": failures(21725)}
    monkeypatch.delenv("SVAE_DATA_MIRROR")
    monkeypatch.setattr(source, "reachable", lambda url: True)
    monkeypatch.setattr(qm9, "HELD_OUT", 5)

    def download_url(url, folder, log, filename):
        assert url.startswith("https://ndownloader.figshare.com/files/3195")
        with open(f"{folder}/{filename}", "wb") as file:
            file.write(content[filename])

    monkeypatch.setattr("torch_geometric.data.download_url", download_url)
    with pytest.raises(UserError, match=r"\A[^\n]*dsgdb9nsd.xyz.tar.bz2 is corrupt[^\n]*\Z"):
        load_qm9("real")  # not the published bytes
    known = {
        k: source.DataFile(f.path, hashlib.sha256(content[f.path.split("/")[1]]).hexdigest())
        for k, f in qm9.PUBLISHED.items()
    }
    monkeypatch.setattr(qm9, "PUBLISHED", known)
    data = load_qm9("real")
    assert not data.standin and len(data.test) == 5
    atoms = offsets[60]
    same = qm9._Molecules(numbers[:atoms], positions[:atoms], offsets[:61])
    assert data.sha256 == same.sha256
    assert (home / "data" / "QM9-published" / "uncharacterized.txt").exists()


def test_a_broken_file_is_one_line_and_nothing_is_parsed(home, monkeypatch):
    monkeypatch.delenv("SVAE_DATA_MIRROR", raising=False)
    broken = home / "data" / qm9.ARRAYS.path
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"PK\x03\x04 not the arrays")
    monkeypatch.setattr(np, "load", lambda *a, **k: pytest.fail("parsed"))
    for choice in ("auto", "real"):
        with pytest.raises(UserError, match=r"\A[^\n]*qm9_nof_128744\.npz is corrupt[^\n]*delete it[^\n]*\Z"):
            load_qm9(choice)


def test_without_any_way_to_get_it_auto_is_the_standin_and_real_one_line(home, monkeypatch):
    monkeypatch.delenv("SVAE_DATA_MIRROR", raising=False)
    monkeypatch.setattr(source, "reachable", lambda url: False)
    assert load_qm9("auto").standin
    with pytest.raises(UserError, match=r"\A[^\n]*no answer from https://[^\n]*SVAE_DATA_MIRROR[^\n]*\Z"):
        load_qm9("real")


@pytest.mark.parametrize(
    "arguments, message",
    [(("qm9",), "unknown data source 'qm9': choose one of auto, real, standin"), (("standin", 0), "at least 1, not")],
)
def test_bad_arguments_are_one_line(arguments, message):
    with pytest.raises(UserError, match=message):
        load_qm9(*arguments)
