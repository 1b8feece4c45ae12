"""The tree against RFC 6962's vectors and an independent implementation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from auth.trace.tree import (
    EMPTY_ROOT,
    Frontier,
    consistency_path,
    inclusion_path,
    leaf_hash,
    merkle_root,
    verify_consistency,
    verify_inclusion,
)

VECTOR = [
    ("", "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
    ("00", "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
    ("10", "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
    ("2021", "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
    ("3031", "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"),
    ("40414243", "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"),
    ("5051525354555657", "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"),
    ("606162636465666768696a6b6c6d6e6f", "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
]
"""Certificate Transparency's reference leaves, and the root after each."""

OTHER = bytes(32)
SIZE = 41


def leaves(size: int) -> list[bytes]:
    return [leaf_hash(b"leaf %d" % n) for n in range(size)]


def root(start: int, end: int) -> bytes:
    return merkle_root(leaves(end)[start:end])


def oracle(size: int) -> InmemoryTree:
    tree = InmemoryTree(algorithm="sha256")
    for n in range(size):
        tree.append_entry(b"leaf %d" % n)
    return tree


def test_roots_are_those_of_certificate_transparency() -> None:
    # T03
    frontier = Frontier()
    assert frontier.root() == merkle_root([]) == EMPTY_ROOT
    hashes = []
    for record, expected in VECTOR:
        hashes.append(leaf_hash(bytes.fromhex(record)))
        frontier.append(hashes[-1])
        assert frontier.root().hex() == merkle_root(hashes).hex() == expected


def test_roots_and_inclusion_paths_are_those_of_an_independent_implementation() -> None:
    # T05
    tree = oracle(SIZE)
    for size in range(1, SIZE + 1):
        assert root(0, size) == tree.get_root(size)
        for n in range(size):
            path = inclusion_path(n, size, root)
            assert path == tree.prove_inclusion(n + 1, size).path[1:]
            assert verify_inclusion(n, size, leaves(size)[n], path, tree.get_root(size))


def test_consistency_proofs_hold_between_an_independent_implementations_roots() -> None:
    # T05
    tree = oracle(SIZE)
    for second in range(1, SIZE + 1):
        for first in range(1, second + 1):
            path = consistency_path(first, second, root)
            old, new = tree.get_root(first), tree.get_root(second)
            assert verify_consistency(first, second, old, new, path)
            assert not verify_consistency(first, second, OTHER, new, path)
            assert not verify_consistency(first, second, old, OTHER, path)


@given(st.data())
def test_a_proof_proves_nothing_else(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, SIZE))
    n = data.draw(st.integers(0, size - 1))
    path = inclusion_path(n, size, root)
    leaf, head = leaves(size)[n], root(0, size)
    other = data.draw(st.integers(0, size - 1).filter(lambda m: m != n))
    assert not verify_inclusion(other, size, leaf, path, head)
    assert not verify_inclusion(n, size, OTHER, path, head)
    assert not verify_inclusion(n, size, leaf, path[:-1], head)
    assert not verify_inclusion(n, size, leaf, [*path, OTHER], head)
    assert not verify_inclusion(n, size, leaf, [OTHER, *path[1:]], head)
    assert not verify_inclusion(size, size, leaf, path, head)
    assert not verify_inclusion(n, size, leaf[:-1], path, head)


@given(st.integers(0, 300), st.integers(0, 8))
def test_a_perfect_subtree_appends_like_its_leaves(size: int, height: int) -> None:
    one_by_one, at_once = Frontier(), Frontier()
    start = size - size % (1 << height)
    for digest in leaves(start):
        one_by_one.append(digest)
        at_once.append(digest)
    subtree = leaves(start + (1 << height))[start:]
    for digest in subtree:
        one_by_one.append(digest)
    at_once.append(merkle_root(subtree), height)
    assert (at_once.size, at_once.root()) == (one_by_one.size, one_by_one.root())


@given(st.lists(st.integers(0, 70), max_size=6))
def test_leaves_appended_together_are_those_appended_one_by_one(groups: list[int]) -> None:
    one_by_one, together = Frontier(), Frontier()
    hashes = leaves(sum(groups))
    for digest in hashes:
        one_by_one.append(digest)
    for group in groups:
        together.extend(hashes[:group])
        del hashes[:group]
    assert (together.size, together.root()) == (one_by_one.size, one_by_one.root())


def test_what_cannot_be_proved_is_refused() -> None:
    unaligned = Frontier()
    unaligned.append(OTHER)
    with pytest.raises(ValueError, match="where it begins"):
        unaligned.append(OTHER, height=1)
    for n, size in ((-1, 3), (3, 3), (0, 0)):
        with pytest.raises(ValueError, match="no entry"):
            inclusion_path(n, size, root)
    for first, second in ((0, 3), (4, 3)):
        with pytest.raises(ValueError, match="no consistency proof"):
            consistency_path(first, second, root)
    assert not verify_consistency(2, 2, OTHER, OTHER, [OTHER])
    assert not verify_consistency(3, 4, OTHER, OTHER, [])
