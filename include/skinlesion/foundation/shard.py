"""A shard: a stable slice of the images, so that several workers can share a stage."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

BUCKETS: Final = 64
"""Number of parts in which a stage keeps its table. Each part belongs to one shard whatever the number of shards, so runs
with different numbers of shards reuse each other's work, and one new image rewrites one sixty-fourth of the table."""


def bucket_of(image: str) -> int:
    """Return the bucket of an image, 0..BUCKETS-1: a stable hash of its name."""
    return zlib.crc32(image.encode()) % BUCKETS


@dataclass(frozen=True)
class Shard:
    """Slice `index` of `count`, 0-based. Raises ValueError when there is no such slice."""

    index: int
    count: int

    def __post_init__(self) -> None:
        if not (0 <= self.index < self.count <= BUCKETS):
            raise ValueError(f"expected 0 <= index < count <= {BUCKETS}, got index={self.index}, count={self.count}")

    @classmethod
    def every(cls, count: int) -> list[Shard]:
        """Return all `count` slices. Raises ValueError for more than BUCKETS."""
        return [cls(index, count) for index in range(max(count, 1))]

    @classmethod
    def of_text(cls, text: str) -> Shard:
        """Return the slice of a text such as 2/4 (1-based), as `str` writes it. Raises ValueError for no such slice."""
        index, _, count = text.partition("/")
        return cls(int(index) - 1, int(count))

    def buckets(self) -> Iterator[int]:
        """Yield the buckets of this shard."""
        return iter(range(self.index, BUCKETS, self.count))

    def __str__(self) -> str:
        return f"{self.index + 1}/{self.count}"


WHOLE: Final = Shard(0, 1)
