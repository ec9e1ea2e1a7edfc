"""Dihedrals against rotations and the law of the polyhedron's corner; bonds and paths of molecules drawn by hand."""

import itertools

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from svae_repro.dihedrals import bonded, dihedral, molecule, torsion_chain, torsion_paths
from svae_repro.errors import UserError

RNG = np.random.default_rng(0)
H, C, N, O = 1, 6, 7, 8  # noqa: E741


def iupac(theta, bends=(70.0, 65.0), lengths=(1.4, 1.5, 1.2)):
    """a-b-c-d with dihedral ``theta`` in degrees by IUPAC's words: from cis, d turns clockwise, seen from b."""
    b, c = np.zeros(3), np.array([0, 0, lengths[1]])
    a = lengths[0] * np.array([np.sin(np.radians(bends[0])), 0, np.cos(np.radians(bends[0]))])
    cis = c + lengths[2] * np.array([np.sin(np.radians(bends[1])), 0, -np.cos(np.radians(bends[1]))])
    axis = (c - b) / lengths[1]  # a right-handed turn about the line of sight is clockwise to who looks along it
    return np.array([a, b, c, c + Rotation.from_rotvec(np.radians(theta) * axis).apply(cis - c)])


def distance_dihedral(points):
    """Unsigned dihedral from the six distances alone, by the spherical law of cosines at b and the bend at c."""
    a, b, c, d = points
    cosine = lambda u, v: u @ v / np.linalg.norm(u) / np.linalg.norm(v)  # noqa: E731
    abc, bcd = np.arccos(cosine(a - b, c - b)), np.arccos(cosine(b - c, d - c))
    ab, bc, cd = (np.linalg.norm(v) for v in (a - b, b - c, c - d))
    # |a - d|^2 as a function of the dihedral
    height = (ab * np.sin(abc), cd * np.sin(bcd))
    along = bc - ab * np.cos(abc) - cd * np.cos(bcd)
    return np.arccos(
        np.clip((height[0] ** 2 + height[1] ** 2 + along**2 - (a - d) @ (a - d)) / (2 * np.prod(height)), -1, 1)
    )


@pytest.mark.parametrize("theta", [-179.999, -180 + 1e-6, -150, -90, -60, -1e-6, 0, 1e-6, 45, 90, 120, 179.999, 180])
def test_a_dihedral_is_the_turn_from_cis_with_iupacs_sign(theta):
    for bends in [(70, 65), (5, 170), (90, 90), (111, 12)]:
        assert np.degrees(dihedral(iupac(theta, bends))) == pytest.approx(theta, abs=1e-9)


def test_cis_is_0_trans_is_180_and_never_minus_180():
    square = np.array([[1, 0, 0], [0, 0, 0], [0, 1, 0], [1, 1, 0]], float)
    assert dihedral(square) == 0
    zigzag = np.array([[1, 0, 0], [0, 0, 0], [0, 1, 0], [-1, 1, 0]], float)
    for flip in itertools.product((1, -1), repeat=3):  # every sign of zero
        assert dihedral(zigzag * flip) == np.pi


def test_dihedrals_of_random_points_agree_with_their_distances():
    points = RNG.normal(size=(500, 4, 3))
    found = dihedral(points)
    assert found.shape == (500,)
    assert np.abs(found) == pytest.approx([distance_dihedral(p) for p in points], abs=1e-6)  # arccos near its ends
    assert 0.4 < (found > 0).mean() < 0.6


def test_dihedrals_do_not_change_with_rotation_translation_size_and_reversal_and_flip_in_a_mirror():
    points = RNG.normal(size=(200, 4, 3))
    found = dihedral(points)
    turned = np.array([r.apply(p) for r, p in zip(Rotation.random(200, rng=1), points, strict=True)])
    np.testing.assert_allclose(dihedral(turned), found, atol=1e-9)
    np.testing.assert_allclose(dihedral(points + np.array([1.0, -20.0, 3.0])), found, atol=1e-9)
    np.testing.assert_allclose(dihedral(1e-3 * points), found, atol=1e-9)
    np.testing.assert_allclose(dihedral(points[:, ::-1]), found, atol=1e-9)
    for axis in range(3):
        mirror = np.where(np.arange(3) == axis, -1, 1)
        np.testing.assert_allclose(dihedral(points * mirror), -found, atol=1e-9)


def test_a_torsion_chain_has_the_torsions_lengths_and_bends_it_was_made_from():
    torsions = RNG.uniform(-np.pi, np.pi, 20)
    points = torsion_chain(torsions, bond=1.3, bend=np.radians(100))
    quadruples = np.stack([points[k : k + 4] for k in range(20)])
    np.testing.assert_allclose(dihedral(quadruples), torsions, atol=1e-9)
    steps = np.diff(points, axis=0)
    np.testing.assert_allclose(np.linalg.norm(steps, axis=1), 1.3)
    np.testing.assert_allclose((steps[1:] * steps[:-1]).sum(1) / 1.3**2, -np.cos(np.radians(100)))


# Molecules, by standard geometries in angstrom


def tetrahedron(centre, towards, length=1.09, twist=0.0):
    """Three hydrogens of a methyl group whose fourth bond goes from ``centre`` to ``towards``."""
    axis = (np.asarray(towards) - centre) / np.linalg.norm(np.asarray(towards) - centre)
    side = np.cross(axis, [0.3, 0.5, 0.7])
    side /= np.linalg.norm(side)
    down = Rotation.from_rotvec(np.radians(109.47) * side).apply(axis)
    return [centre + length * Rotation.from_rotvec((twist + k * 2 * np.pi / 3) * axis).apply(down) for k in range(3)]


def ring(size, bond, numbers, outward=1.09):
    """A flat ring with one hydrogen on each atom."""
    angle = 2 * np.pi * np.arange(size) / size
    unit = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    radius = bond / (2 * np.sin(np.pi / size))
    return np.array([*numbers, *[H] * size]), np.concatenate([radius * unit, (radius + outward) * unit])


def water():
    half = np.radians(104.5 / 2)
    return np.array([O, H, H]), 0.958 * np.array(
        [[0, 0, 0], [np.sin(half), np.cos(half), 0], [-np.sin(half), np.cos(half), 0]]
    )


def methane():
    return np.array([C, H, H, H, H]), np.array([[0, 0, 0], [0, 0, 1.09], *tetrahedron(np.zeros(3), [0, 0, 1.0])])


def ethane():
    a, b = np.zeros(3), np.array([1.53, 0, 0])
    return np.array([C, C, *[H] * 6]), np.array([a, b, *tetrahedron(a, b), *tetrahedron(b, a, twist=1.0)])


def butane(theta):
    """The carbons of butane alone."""
    return np.array([C] * 4), torsion_chain([np.radians(theta)])


def bonds_of(numbers, positions):
    return {(int(i), int(j)) for i, j in np.argwhere(np.triu(bonded(numbers, positions)))}


@pytest.mark.parametrize(
    "made, bonds",
    [
        (water(), {(0, 1), (0, 2)}),
        (methane(), {(0, k) for k in range(1, 5)}),
        (ethane(), {(0, 1), *((0, k) for k in (2, 3, 4)), *((1, k) for k in (5, 6, 7))}),
        (ring(6, 1.39, [C] * 6), {*((k, k + 1) for k in range(5)), (0, 5), *((k, k + 6) for k in range(6))}),
        (ring(3, 1.51, [C] * 3), {(0, 1), (1, 2), (0, 2), (0, 3), (1, 4), (2, 5)}),
        ((np.array([H, C, N]), np.array([[0, 0, 0], [1.07, 0, 0], [2.22, 0, 0]])), {(0, 1), (1, 2)}),
        (butane(60), {(0, 1), (1, 2), (2, 3)}),
    ],
    ids=["water", "methane", "ethane", "benzene", "cyclopropane", "hydrogen cyanide", "gauche butane"],
)
def test_bonds_of_known_molecules(made, bonds):
    numbers, positions = made
    assert bonds_of(numbers, positions) == bonds
    order = RNG.permutation(len(numbers))  # bonds do not depend on the order of atoms
    shuffled = {tuple(sorted(int(order[k]) for k in bond)) for bond in bonds_of(numbers[order], positions[order])}
    assert shuffled == bonds
    padded = np.concatenate([numbers, [0, 0]]), np.concatenate([positions, positions[:2]])
    assert bonds_of(*padded) == bonds  # absent atoms bond with none


def paths_of(edges, positions):
    adjacency = np.zeros((len(positions),) * 2, bool)
    for i, j in edges:
        adjacency[i, j] = adjacency[j, i] = True
    owner, paths = torsion_paths(adjacency[None], np.asarray(positions, float)[None])
    assert (owner == 0).all()
    return paths.tolist()


def every_path(edges, count):
    """The paths by the rules' words: for each middle bond the first four-atom path, by brute force."""
    joined = {frozenset(edge) for edge in edges}
    found = []
    for b, c in sorted(tuple(sorted(edge)) for edge in edges):
        ends = [
            (a, d)
            for a, d in itertools.product(range(count), repeat=2)
            if len({a, b, c, d}) == 4 and frozenset((a, b)) in joined and frozenset((c, d)) in joined
        ]
        found += [[min(ends)[0], b, c, min(ends)[1]]] if ends else []
    return found


def test_paths_are_those_of_the_rules_in_any_graph():
    compared = 0
    for _ in range(200):
        count = int(RNG.integers(2, 9))
        pairs = list(itertools.combinations(range(count), 2))
        edges = [pair for pair in pairs if RNG.random() < RNG.uniform(0.1, 0.7)]
        positions = RNG.normal(size=(count, 3))
        straight = [np.degrees(np.arccos(np.clip(c, -1, 1))) for c in _bends(every_path(edges, count), positions)]
        if max(straight, default=0) < 170:
            assert paths_of(edges, positions) == every_path(edges, count)
            compared += 1
    assert compared > 100


def _bends(paths, positions):
    for path in paths:
        for triple in (path[:3], path[1:]):
            u, v = positions[triple[0]] - positions[triple[1]], positions[triple[2]] - positions[triple[1]]
            yield u @ v / np.linalg.norm(u) / np.linalg.norm(v)


def test_a_three_membered_ring_gives_way_to_its_substituents():
    # ring 0-1-2, substituent 3 on 0: the path over 0-1 starts at the substituent as 1 has no other neighbour than 2
    positions = [[0, 0, 0], [1.5, 0, 0], [0.75, 1.3, 0], [-0.7, -0.7, 1]]
    assert paths_of([(0, 1), (0, 2), (1, 2), (0, 3)], positions) == [[3, 0, 1, 2], [3, 0, 2, 1]]


def test_paths_through_a_triple_bond_are_left_out():
    chain = [[0, 0, 0], [1.46, 0, 0], [2.67, 0, 0], [4.1, 0.1, 0]]  # but-2-yne
    assert paths_of([(0, 1), (1, 2), (2, 3)], chain) == []


@pytest.mark.parametrize("theta", [-65.0, 65.0, 180.0, 5.0])
def test_a_molecule_has_its_bonds_paths_and_angles(theta):
    found = molecule(*butane(theta))
    assert found.paths.tolist() == [[0, 1, 2, 3]] and found.bonds.tolist() == [[0, 1], [1, 2], [2, 3]]
    assert np.degrees(found.angles) == pytest.approx([theta])
    numbers, positions = ring(6, 1.39, [C] * 6)
    benzene = molecule(numbers, positions)
    assert len(benzene.angles) == 6 and np.allclose(benzene.angles, 0) and (benzene.paths < 6).all()


@pytest.mark.parametrize(
    "made, message",
    [
        (water(), r"1 heavy atoms and no bent chain of four"),
        (ethane(), r"2 heavy atoms and no bent chain of four of them has no dihedral: leave it out"),
        ((np.array([C, 17]), np.zeros((2, 3))), r"no covalent radius for atomic number 17: QM9 has"),
        ((np.array([C, C]), np.full((2, 3), np.nan)), r"2 atoms need as many finite positions, got"),
        ((np.array([C, C]), np.zeros((3, 3))), r"2 atoms need as many finite positions, got an array of \(3, 3\)"),
    ],
    ids=["water", "ethane", "chlorine", "nan", "shape"],
)
def test_a_bad_molecule_is_one_line(made, message):
    with pytest.raises(UserError, match=message) as caught:
        molecule(*made)
    assert "\n" not in str(caught.value)
