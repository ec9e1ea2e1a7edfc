"""QM9 as dihedral angles (the blog's molecular study), and torsion chains as its stand-in.

The post feeds "all the angles" of a molecule to its models and does not say which. Here a molecule has one dihedral for
each bond that is the middle of a path of four heavy atoms (all but hydrogen):

1. Two atoms are bonded if they are closer than the sum of their covalent radii (Cordero et al. 2008) plus 0.25
   angstrom. There QM9's distances leave a gap: 57 pairs lie between 0.20 and 0.25, 1.2 million below.
2. The middle bonds b-c, with b before c in the file's order of atoms, are taken in the order of (b, c). Ring and double
   bonds count: nine heavy atoms have few others, and a ring's pucker is structure too.
3. Each gives one path a-b-c-d: the first (a, d) with a bonded to b, d bonded to c and all four different. It is left
   out if a-b-c or b-c-d is straighter than 170 degrees, as at a triple bond, where the angle means nothing.
4. The angle is IUPAC's, in (-pi, pi]: 0 for cis, positive if, seen from b towards c, a turns clockwise to hide d.

QM9's order of atoms follows the molecule's SMILES string, so slot k means much the same in similar molecules. A
molecule has at most `SLOTS` dihedrals; slots that it does not fill are masked. Those without any, 443 of 128,744, are
left out.

Letters: N molecules, A atoms of the largest, M slots, P paths.
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
from svae_repro.errors import UserError

COVALENT_RADII = {1: 0.31, 6: 0.76, 7: 0.71, 8: 0.66, 9: 0.57}  # angstrom, by atomic number
BOND_TOLERANCE = 0.25  # angstrom
STRAIGHT = np.radians(170)
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
class Molecule:
    """One molecule and its dihedrals, for a figure."""

    numbers: np.ndarray  # [A] atomic numbers
    positions: np.ndarray  # [A, 3] in angstrom
    bonds: np.ndarray  # [bonds, 2] atoms, each bond once
    paths: np.ndarray  # [P, 4] atoms a, b, c, d
    angles: np.ndarray  # [P] radians


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
    limits = (train_size, validation_size, test_size)
    if any(limit is not None and limit < 1 for limit in limits):
        raise UserError(f"split sizes must be at least 1, not {limits}")
    angles, molecules, standin = files.choose(source, _real, _standin)
    held_out = len(angles) // 7 if standin else HELD_OUT
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(angles)))
    parts = order.split([len(angles) - 2 * held_out, held_out, held_out])
    splits = [Angles(angles.angle[i[:n]], angles.present[i[:n]]) for i, n in zip(parts, limits, strict=True)]
    name = "torsion chains" if standin else "qm9"
    return Dihedrals(name, standin, molecules.sha256, *splits, _example(angles, molecules, parts[2]))


def dihedral(points: np.ndarray) -> np.ndarray:
    """The dihedral angle [...] in (-pi, pi] of four points each, [..., 4, 3] (Blondel and Karplus 1996)."""
    first, middle, last = np.moveaxis(np.diff(np.asarray(points, float), axis=-2), -2, 0)
    left, right = np.cross(first, middle), np.cross(middle, last)
    sine = np.linalg.norm(middle, axis=-1) * (first * right).sum(-1)
    angle = np.arctan2(sine, (left * right).sum(-1))
    return np.where(angle == -np.pi, np.pi, angle)


def bonded(numbers: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Which atoms are bonded, [..., A, A] bool.

    Args:
        numbers: atomic numbers [..., A], 0 where there is no atom.
        positions: [..., A, 3] in angstrom.
    """
    radii = np.zeros(max(COVALENT_RADII) + 1)
    radii[list(COVALENT_RADII)] = list(COVALENT_RADII.values())
    radius = np.where(numbers > 0, radii[numbers], -np.inf)
    bonds = np.zeros((*numbers.shape, numbers.shape[-1]), bool)
    for i, j in zip(*np.triu_indices(numbers.shape[-1], 1), strict=True):  # pair by pair: all at once is slow
        distance = np.linalg.norm(positions[..., i, :] - positions[..., j, :], axis=-1)
        bonds[..., i, j] = bonds[..., j, i] = distance < radius[..., i] + radius[..., j] + BOND_TOLERANCE
    return bonds


def torsion_paths(bonds: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The paths a-b-c-d of all molecules by the rules above: whose they are [P], and their atoms [P, 4].

    Args:
        bonds: [N, A, A] bool, between the atoms that count.
        positions: [N, A, 3].
    """
    molecule, b, c = np.nonzero(np.triu(bonds))
    row = np.arange(len(molecule))
    before, after = bonds[molecule, b].copy(), bonds[molecule, c].copy()  # [P, A]
    before[row, c] = after[row, b] = False
    # In a three-membered ring the first neighbours of b and c may be one atom; if c has no other, b must give way.
    first = before.argmax(1)
    alone = after.any(1) & (after.sum(1) == after[row, first])
    before[row[alone], first[alone]] = False
    a = before.argmax(1)
    complete = before.any(1)
    after[row, a] = False
    d = after.argmax(1)
    complete &= after.any(1)
    molecule, path = molecule[complete], np.stack([a, b, c, d], axis=-1)[complete]
    points = positions[molecule[:, None], path]
    bent = (_angle(points[:, :3]) < STRAIGHT) & (_angle(points[:, 1:]) < STRAIGHT)
    return molecule[bent], path[bent]


def molecule(numbers: np.ndarray, positions: np.ndarray) -> Molecule:
    """Bonds, paths and angles of one molecule from atomic numbers [A] and positions [A, 3] in angstrom.

    Raises:
        UserError: the molecule is too small for any dihedral, or it is no molecule of H, C, N, O, F with coordinates.
    """
    numbers, positions = np.asarray(numbers), np.asarray(positions, float)
    if positions.shape != (*numbers.shape, 3) or not np.isfinite(positions).all():
        raise UserError(f"{len(numbers)} atoms need as many finite positions, got an array of {positions.shape}")
    if unknown := set(numbers.tolist()) - set(COVALENT_RADII):
        raise UserError(f"no covalent radius for atomic number {min(unknown)}: QM9 has H, C, N, O and F only")
    bonds = bonded(numbers, positions)
    heavy = numbers > 1
    _, paths = torsion_paths((bonds & heavy & heavy[:, None])[None], positions[None])
    if len(paths) == 0:
        raise UserError(
            f"a molecule with {heavy.sum()} heavy atoms and no bent chain of four of them has no dihedral: leave it out"
        )
    return Molecule(numbers, positions, np.argwhere(np.triu(bonds)), paths, dihedral(positions[paths]))


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


def _angle(points: np.ndarray) -> np.ndarray:
    """The angle [...] in [0, pi] at the middle one of three points each, [..., 3, 3]."""
    u, v = points[..., 0, :] - points[..., 1, :], points[..., 2, :] - points[..., 1, :]
    return np.arctan2(np.linalg.norm(np.cross(u, v), axis=-1), (u * v).sum(-1))


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
            numbers, positions = [*numbers, chain], [*positions, points]
            offsets.append(offsets[-1] + length)
    molecules = _Molecules(np.concatenate(numbers), np.concatenate(positions), np.array(offsets, np.int32))
    return _all_angles(molecules), molecules, True


def torsion_chain(torsions: np.ndarray, bond: float = 1.54, bend: float = np.radians(112.0)) -> np.ndarray:
    """Positions [P + 3, 3] of a chain with the dihedral angles [P] in radians; lengths in angstrom, bends in radians.

    Each atom is placed from the three before it (natural extension reference frame, Parsons et al. 2005).
    """
    points = [np.zeros(3), np.array([bond, 0.0, 0.0])]
    points.append(points[1] + bond * np.array([-np.cos(bend), np.sin(bend), 0.0]))
    for torsion in torsions:
        a, b, c = points[-3:]
        along = (c - b) / bond
        normal = np.cross(b - a, along)
        normal /= np.linalg.norm(normal)
        step = [-np.cos(bend), np.sin(bend) * np.cos(torsion), np.sin(bend) * np.sin(torsion)]
        points.append(c + bond * np.array(step) @ np.stack([along, np.cross(normal, along), normal]))
    return np.array(points)
