"""QM9 as dihedral angles (the blog's molecular study), and torsion chains as its stand-in.

The post feeds "all the angles" of a molecule to its models and does not say which: `svae_repro.dihedrals` does.

QM9's order of atoms follows the molecule's SMILES string, so slot k means much the same in similar molecules. A
molecule has at most `SLOTS` dihedrals; slots that it does not fill are masked. Those without any, 443 of 128,744, are
left out.

Letters: N molecules, M slots.
"""

import functools
import hashlib
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from svae_repro.data import source as files
from svae_repro.data.mnist import checked_limits
from svae_repro.dihedrals import Molecule, bonded, dihedral, molecule, torsion_chain, torsion_paths

SLOTS = 13  # the most that a molecule of QM9 without fluorine has
HELD_OUT = 10_000  # molecules for validation, and as many for testing

# The coordinates of 128,744 molecules: those that passed QM9's consistency check and have no fluorine
ARRAYS = files.DataFile("QM9/qm9_nof_128744.npz", "f0c682b44c954f5e27db34c19c2136b10091608223051864e07c46aa40353135")
# The published files, from which the same coordinates are made. torch-geometric's QM9 is a pickle, or needs RDKit, and
# neither has a published checksum; these do, in TensorFlow Datasets. The number is figshare's.
PUBLISHED = {
    3195389: files.DataFile(
        "QM9-published/dsgdb9nsd.xyz.tar.bz2", "3a63848ac80691bdb8d41834b575afad345b9300d7a2db0c38adb7f6eaa8360c"
    ),
    3195404: files.DataFile(
        "QM9-published/uncharacterized.txt", "3aa5115d540b356de94791d4a74c3bf1ed91c469ecf52a4f5d7cc0506fe02e24"
    ),
}
CHAINS = 3000  # molecules of the stand-in


@dataclass(frozen=True, eq=False)
class Angles:
    """The dihedrals of N molecules."""

    angle: Tensor  # [N, M] float32, radians in (-pi, pi], 0 in unused slots
    present: Tensor  # [N, M] bool

    def __len__(self) -> int:
        return len(self.angle)

    def encode(self) -> Tensor:
        """(cos, sin) of every slot side by side, [N, 2 M] float32; both are 0 in unused slots."""
        pairs = torch.stack([self.angle.cos(), self.angle.sin()], dim=-1)
        return (pairs * self.present.unsqueeze(-1)).flatten(1)


@dataclass(frozen=True, eq=False)
class Dihedrals:
    """The three splits, and a molecule of the test split to look at."""

    name: str  # "qm9" or "torsion chains"
    standin: bool
    sha256: str  # of all coordinates, split sizes or not
    train: Angles
    validation: Angles
    test: Angles
    example: Molecule

    @property
    def description(self) -> str:
        """What to print after `data: `."""
        if self.standin:
            return "stand-in (torsion chains of four to nine carbon atoms)"
        return f"real (QM9 without fluorine, sha256 {self.sha256[:12]}...)"


def load_qm9(
    source: str = "auto",
    train_size: int | None = None,
    validation_size: int | None = None,
    test_size: int | None = None,
) -> Dihedrals:
    """The dihedrals of QM9's molecules in a fixed random order: 10,000 validate, 10,000 test, the others train.

    The stand-in has 3,000 chains, 5:1:1. A size keeps at most that many molecules of a split, its first ones. The
    coordinates are parsed once in a process. Raises UserError for an unknown `source`, a size below one, corrupt files,
    or with `"real"` where there is no way to get them.
    """
    limits = checked_limits(train_size, validation_size, test_size)
    angles, molecules, standin = files.choose(source, _real, _standin)
    held_out = len(angles) // 7 if standin else HELD_OUT
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(angles)))
    parts = order.split([len(angles) - 2 * held_out, held_out, held_out])
    splits = [Angles(angles.angle[i[:n]], angles.present[i[:n]]) for i, n in zip(parts, limits, strict=True)]
    name = "torsion chains" if standin else "qm9"
    return Dihedrals(name, standin, molecules.sha256, *splits, _example(angles, molecules, parts[2]))


@dataclass(frozen=True, eq=False)
class _Molecules:
    """Coordinates: molecule k is the atoms offsets[k] to offsets[k + 1]."""

    numbers: np.ndarray  # uint8
    positions: np.ndarray  # float32, angstrom
    offsets: np.ndarray  # int32

    @property
    def sha256(self) -> str:
        content = b"".join(array.tobytes() for array in (self.numbers, self.positions, self.offsets))
        return hashlib.sha256(content).hexdigest()

    def __getitem__(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        atoms = slice(self.offsets[k], self.offsets[k + 1])
        return self.numbers[atoms], self.positions[atoms]


@dataclass(frozen=True, eq=False)
class _AllAngles(Angles):
    index: np.ndarray  # [N] which molecules these are


def _all_angles(molecules: _Molecules) -> _AllAngles:
    """The dihedrals of every molecule that has any."""
    count = len(molecules.offsets) - 1
    owner = np.repeat(np.arange(count), np.diff(molecules.offsets))
    heavy = np.flatnonzero(molecules.numbers > 1)
    owner, place = owner[heavy], _rank(owner[heavy], count)
    numbers = np.zeros((count, place.max() + 1), np.uint8)
    positions = np.zeros((*numbers.shape, 3))
    numbers[owner, place], positions[owner, place] = molecules.numbers[heavy], molecules.positions[heavy]
    owner, path = torsion_paths(bonded(numbers, positions), positions)
    slot = _rank(owner, count)
    angle, present = np.zeros((count, SLOTS), np.float32), np.zeros((count, SLOTS), bool)
    angle[owner, slot], present[owner, slot] = dihedral(positions[owner[:, None], path]), True
    index = np.flatnonzero(present[:, 0])
    return _AllAngles(torch.from_numpy(angle[index]), torch.from_numpy(present[index]), index)


def _rank(owner: np.ndarray, count: int) -> np.ndarray:
    """How many earlier entries of the sorted ``owner`` have the same value."""
    sizes = np.bincount(owner, minlength=count)
    return np.arange(len(owner)) - (np.cumsum(sizes) - sizes)[owner]


def _example(angles: _AllAngles, molecules: _Molecules, candidates: Tensor) -> Molecule:
    """The first candidate with five dihedrals, of which three at least are far from planar, else the first of all."""
    angle, present = angles.angle[candidates], angles.present[candidates]
    twisted = (angle.sin().abs() > 0.5) & present
    suits = (present.sum(1) == 5) & (twisted.sum(1) >= 3)
    return molecule(*molecules[angles.index[candidates[int(suits.int().argmax())]]])


@functools.lru_cache(maxsize=1)
def _real() -> tuple[_AllAngles, _Molecules, bool]:
    try:
        with np.load(io.BytesIO(files.read(ARRAYS, _not_published)), allow_pickle=False) as stored:
            molecules = _Molecules(stored["Z"], stored["pos"], stored["offsets"])
    except files.Unavailable:
        molecules = _parse(*(files.read(file, _download) for file in PUBLISHED.values()))
    return _all_angles(molecules), molecules, False


def _not_published(file: files.DataFile, folder: Path) -> None:
    raise OSError("it is made from the published files")


def _download(file: files.DataFile, folder: Path) -> None:
    from torch_geometric.data import download_url  # its import takes seconds, and only a download needs it

    number = next(number for number, known in PUBLISHED.items() if known == file)
    url = f"https://ndownloader.figshare.com/files/{number}"
    if not files.reachable(url):
        raise OSError(f"no answer from {url}")
    download_url(url, str(folder), log=False, filename=Path(file.path).name)


def _parse(archive: bytes, failed: bytes) -> _Molecules:
    """The molecules of QM9's archive without fluorine and without those listed as failed its consistency check."""
    left_out = {int(line.split()[0]) for line in failed.decode().split("\n")[9:-2]}  # a table between prose
    elements = {b"H": 1, b"C": 6, b"N": 7, b"O": 8, b"F": 9}
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:bz2") as members:
        for member in members:
            lines = members.extractfile(member).read().split(b"\n")
            number = int(lines[1].split()[1])  # "gdb 1 ..."
            rows = [line.split() for line in lines[2 : 2 + int(lines[0])]]
            if number in left_out or any(row[0] == b"F" for row in rows):
                continue
            # Fortran-like exponents: 1.5*^-6
            positions = [[float(value.replace(b"*^", b"e")) for value in row[1:4]] for row in rows]
            found[number] = [elements[row[0]] for row in rows], positions
    ordered = [found[number] for number in sorted(found)]
    offsets = np.cumsum([0, *(len(numbers) for numbers, _ in ordered)], dtype=np.int32)
    numbers, positions = (np.concatenate(column) for column in zip(*ordered, strict=True))
    return _Molecules(numbers.astype(np.uint8), positions.astype(np.float32), offsets)


@functools.lru_cache(maxsize=1)
def _standin() -> tuple[_AllAngles, _Molecules, bool]:
    """Carbon chains whose torsions are trans or gauche, a few degrees about them, as in an alkane.

    Neighbouring gauche torsions of opposite sign are rare (the pentane effect), so that angles depend on each other.
    """
    rng = np.random.default_rng(0)
    states, spread = np.radians([180.0, 65.0, -65.0]), np.radians(7.0)
    change = np.array([[0.5, 0.25, 0.25], [0.58, 0.4, 0.02], [0.58, 0.02, 0.4]])  # from trans, gauche+, gauche-
    numbers, positions, offsets = [], [], [0]
    while len(offsets) <= CHAINS:
        length = int(rng.integers(4, 10))
        state, torsions = rng.choice(3, p=change[0]), []
        for _ in range(length - 3):
            torsions.append(states[state] + spread * rng.normal())
            state = rng.choice(3, p=change[state])
        chain = np.full(length, 6, np.uint8)
        # Rounded, because the last bits of cosine and sine differ between machines and the checksum should not.
        points = np.round(torsion_chain(torsions), 4).astype(np.float32)
        if bonded(chain, points).sum() == 2 * (length - 1):  # it does not run into itself
            numbers.append(chain)
            positions.append(points)
            offsets.append(offsets[-1] + length)
    molecules = _Molecules(np.concatenate(numbers), np.concatenate(positions), np.array(offsets, np.int32))
    return _all_angles(molecules), molecules, True
