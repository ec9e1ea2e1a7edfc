"""Dihedral angles from three-dimensional coordinates: which atoms are bonded, which paths count, and their angles.

A molecule has one dihedral for each bond that is the middle of a path of four heavy atoms (all but hydrogen):

1. Two atoms are bonded if they are closer than the sum of their covalent radii (Cordero et al. 2008) plus 0.25
   angstrom. There QM9's distances leave a gap: 57 pairs of heavy atoms lie between 0.20 and 0.25, 1.2 million below.
   (In strained cages it still finds too many: 13 of 821,806 carbons have five heavy neighbours.)
2. The middle bonds b-c, with b before c in the order of atoms given, are taken in the order of (b, c). Ring and double
   bonds count: nine heavy atoms have few others, and a ring's pucker is structure too.
3. Each gives one path a-b-c-d: the first (a, d) with a bonded to b, d bonded to c and all four different. It is left
   out if a-b-c or b-c-d is straighter than 170 degrees, as at a triple bond, where the angle means nothing.
4. The angle is IUPAC's, in (-pi, pi]: 0 for cis, positive if, seen from b towards c, a turns clockwise to hide d.

Letters: N molecules, A atoms of the largest, P paths.
"""

from dataclasses import dataclass

import numpy as np

from .errors import UserError

COVALENT_RADII = {1: 0.31, 6: 0.76, 7: 0.71, 8: 0.66, 9: 0.57}  # angstrom, by atomic number
BOND_TOLERANCE = 0.25  # angstrom
STRAIGHT = np.radians(170)


@dataclass(frozen=True, eq=False)
class Molecule:
    """One molecule and its dihedrals, for a figure."""

    numbers: np.ndarray  # [A] atomic numbers
    positions: np.ndarray  # [A, 3] in angstrom
    bonds: np.ndarray  # [bonds, 2] atoms, each bond once
    paths: np.ndarray  # [P, 4] atoms a, b, c, d
    angles: np.ndarray  # [P] radians


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


def _angle(points: np.ndarray) -> np.ndarray:
    """The angle [...] in [0, pi] at the middle one of three points each, [..., 3, 3]."""
    u, v = points[..., 0, :] - points[..., 1, :], points[..., 2, :] - points[..., 1, :]
    return np.arctan2(np.linalg.norm(np.cross(u, v), axis=-1), (u * v).sum(-1))
