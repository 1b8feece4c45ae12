"""The Merkle tree of RFC 6962 section 2, pure: hashes, incremental root, proofs and their verification.

Proofs are made from a function that gives the root of any range of leaves, so that who keeps the leaves
decides what to cache. Verification follows RFC 9162 sections 2.1.3.2 and 2.1.4.2 (same tree, iterative).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()
"""The root of a tree without leaves (RFC 6962 section 2.1)."""

RangeRoot = Callable[[int, int], bytes]
"""Root of the leaves from the first number to the second, exclusive."""


def leaf_hash(record: bytes) -> bytes:
    """Hash a leaf: SHA-256 of 0x00 and the record."""
    return sha256(b"\x00" + record).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash an inner node: SHA-256 of 0x01 and both children."""
    return sha256(b"\x01" + left + right).digest()


def merkle_root(leaf_hashes: Sequence[bytes]) -> bytes:
    """Root of the tree over these leaf hashes, level by level."""
    if not leaf_hashes:
        return EMPTY_ROOT
    level = list(leaf_hashes)
    while len(level) > 1:
        pairs = iter(level)
        above = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=False)]
        if len(level) % 2:
            above.append(level[-1])
        level = above
    return level[0]


class Frontier:
    """The roots of the perfect subtrees of a growing tree: all that appending and the root need."""

    __slots__ = ("_peaks", "size")

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def copy(self) -> Frontier:
        """Return an independent frontier of the same tree."""
        twin = Frontier()
        twin.size = self.size
        twin._peaks = self._peaks.copy()
        return twin

    def append(self, digest: bytes, height: int = 0) -> None:
        """Append a leaf hash, or the root of a perfect subtree of ``2**height`` leaves.

        Raises ValueError when the size is not a multiple of the subtree's.
        """
        if self.size & ((1 << height) - 1):
            raise ValueError("a subtree can only be appended where it begins")
        filled = self.size >> height
        peaks = self._peaks
        while filled & 1:
            digest = sha256(b"\x01" + peaks.pop() + digest).digest()
            filled >>= 1
        peaks.append(digest)
        self.size += 1 << height

    def extend(self, digests: Sequence[bytes]) -> None:
        """Append leaf hashes, perfect subtree by perfect subtree: half the time of one by one."""
        start, count = 0, len(digests)
        while start < count:
            height = (count - start).bit_length() - 1
            if self.size:
                height = min(height, (self.size & -self.size).bit_length() - 1)
            end = start + (1 << height)
            self.append(merkle_root(digests[start:end]), height)
            start = end

    def root(self) -> bytes:
        """Root of the tree as it stands."""
        if not self._peaks:
            return EMPTY_ROOT
        *left, root = self._peaks
        for peak in reversed(left):
            root = node_hash(peak, root)
        return root


def _split(width: int) -> int:
    """Return the largest power of two below ``width`` (RFC 6962 section 2.1's k)."""
    return 1 << (width - 1).bit_length() - 1


def inclusion_path(n: int, size: int, range_root: RangeRoot) -> list[bytes]:
    """Audit path of leaf ``n`` in the tree of the first ``size`` leaves, nearest sibling first.

    Raises ValueError unless ``0 <= n < size``. RFC 6962 section 2.1.1.
    """
    if not 0 <= n < size:
        raise ValueError(f"no entry {n} in a tree of {size}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if n < middle:
            path.append(range_root(middle, end))
            end = middle
        else:
            path.append(range_root(start, middle))
            start = middle
    path.reverse()
    return path


def consistency_path(first: int, second: int, range_root: RangeRoot) -> list[bytes]:
    """Proof that the tree of ``second`` leaves begins with the tree of ``first``.

    Raises ValueError unless ``0 < first <= second``. RFC 6962 section 2.1.2.
    """
    if not 0 < first <= second:
        raise ValueError(f"no consistency proof from {first} to {second}")
    path: list[bytes] = []
    start, end = 0, second
    while first < end:
        middle = start + _split(end - start)
        if first <= middle:
            path.append(range_root(middle, end))
            end = middle
        else:
            path.append(range_root(start, middle))
            start = middle
    if start:
        path.append(range_root(start, end))
    path.reverse()
    return path


def verify_inclusion(n: int, size: int, leaf: bytes, path: Sequence[bytes], root: bytes) -> bool:
    """Tell whether ``path`` proves that the leaf hash ``leaf`` is number ``n`` under ``root``.

    RFC 9162 section 2.1.3.2. Any input is answered, none raises.
    """
    if not 0 <= n < size or not _are_hashes(leaf, root, *path):
        return False
    index, last, digest = n, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if index & 1 or index == last:
            digest = node_hash(sibling, digest)
            while index & 1 == 0 and index:
                index, last = index >> 1, last >> 1
        else:
            digest = node_hash(digest, sibling)
        index, last = index >> 1, last >> 1
    return last == 0 and digest == root


def verify_consistency(first: int, second: int, first_root: bytes, second_root: bytes, path: Sequence[bytes]) -> bool:
    """Tell whether ``path`` proves that ``second_root`` extends ``first_root``.

    RFC 9162 section 2.1.4.2. Any input is answered, none raises.
    """
    if not 0 < first <= second or not _are_hashes(first_root, second_root, *path):
        return False
    if first == second:
        return not path and first_root == second_root
    steps = list(path)
    if first & (first - 1) == 0:
        steps.insert(0, first_root)
    if not steps:
        return False
    index, last = first - 1, second - 1
    while index & 1:
        index, last = index >> 1, last >> 1
    old = new = steps[0]
    for sibling in steps[1:]:
        if last == 0:
            return False
        if index & 1 or index == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while index & 1 == 0 and index:
                index, last = index >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        index, last = index >> 1, last >> 1
    return last == 0 and old == first_root and new == second_root


def _are_hashes(*digests: bytes) -> bool:
    return all(len(digest) == HASH_BYTES for digest in digests)
