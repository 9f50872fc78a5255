"""A shard: a stable slice of the images, so that several workers can share a stage."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

BUCKETS: Final = 64
"""A stage keeps its table in so many parts. A part belongs to one shard whatever the number of shards, so runs with
different numbers find each other's work, and one new image rewrites one sixty-fourth of the table."""


def bucket_of(image: str) -> int:
    """Give the bucket, 0..BUCKETS-1, that an image belongs to: a stable hash of its name."""
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
        """Give all slices of so many. Raises ValueError when there are none."""
        return [cls(index, count) for index in range(max(count, 1))]

    @classmethod
    def of_text(cls, text: str) -> Shard:
        """Give the slice that `str` of it says, 1-based: 2/4. Raises ValueError when there is no such slice."""
        index, _, count = text.partition("/")
        return cls(int(index) - 1, int(count))

    def buckets(self) -> Iterator[int]:
        """Give the buckets of this shard."""
        return iter(range(self.index, BUCKETS, self.count))

    def __str__(self) -> str:
        return f"{self.index + 1}/{self.count}"


WHOLE: Final = Shard(0, 1)
