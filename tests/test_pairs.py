"""Pairs as numbers against a listing of the lower triangle, and the count through the non-edges against a filter."""

import itertools

import pytest
import torch

from svae_repro import pairs


def test_numbers_are_those_of_the_lower_triangle_row_by_row():
    nodes = 30
    listed = torch.tensor([(u, v) for v in range(nodes) for u in range(v)])
    assert pairs.count(nodes) == len(listed)
    assert pairs.encode(listed).tolist() == list(range(len(listed)))
    assert torch.equal(pairs.decode(torch.arange(len(listed))), listed)
    assert torch.equal(pairs.encode(listed.flip(-1)), pairs.encode(listed))


@pytest.mark.parametrize("high", [2, 3, 19_717, 2**20 + 1, 2**25, 2**26 - 1])
def test_decoding_is_exact_around_the_ends_of_every_row(high):
    """Where the square root is closest to a whole number, up to 2^51."""
    first = high * (high - 1) // 2
    number = torch.tensor([first, first + 1, first + high - 2, first + high - 1])
    low = [0, min(1, high - 1), max(high - 2, 0), high - 1]
    assert pairs.decode(number).tolist() == [[u, high] for u in low]
    assert torch.equal(pairs.encode(pairs.decode(number)), number)


@pytest.mark.parametrize("count", [0, 1, 7, 44])
def test_non_edges_are_all_pairs_but_the_edges_in_order(count):
    nodes = 10
    every = pairs.decode(torch.arange(pairs.count(nodes))).tolist()
    generator = torch.Generator().manual_seed(count)
    runs = [torch.randperm(len(every), generator=generator)[:count].sort().values for _ in range(3)]
    edges = torch.stack(runs)  # [3, E]
    rank = torch.arange(len(every) - count).expand(3, -1)
    for own, found in zip(edges.tolist(), pairs.non_edges(rank, edges).tolist(), strict=True):
        assert found == [pair for number, pair in enumerate(every) if number not in own]


def test_a_full_row_of_edges_is_skipped():
    edges = torch.tensor([(u, 3) for u in range(3)])
    found = pairs.non_edges(torch.arange(7), pairs.encode(edges))
    expected = [p for p in itertools.combinations(range(5), 2) if p not in {(0, 3), (1, 3), (2, 3)}]
    assert sorted(map(tuple, found.tolist())) == expected
