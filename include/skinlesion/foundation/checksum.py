"""Checksums of files, and those that servers tell."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Checksum:
    """algorithm: a name of hashlib; digest: hex, lower case; origin: who says so."""

    algorithm: str
    digest: str
    origin: str


def hash_of(path: Path, algorithm: str = "sha256") -> str:
    """Give the hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def have_same_content(one: Path, other: Path) -> bool:
    """Tell whether two files hold the same bytes; False when one of them is missing, as behind a link to nowhere."""
    try:
        return one.stat().st_size == other.stat().st_size and hash_of(one) == hash_of(other)
    except FileNotFoundError:
        return False


def md5_told(headers: Mapping[str, str]) -> str:
    """Give the MD5 that a server tells of the whole file, in hex, or nothing.

    Amazon S3's ETag is one, unless the object came in several parts or is encrypted with a key of KMS (S3's API
    reference, "Object"); Google's is in x-goog-hash; any server may send Content-MD5 (RFC 1864).
    """
    etag = headers.get("etag", "").strip('"')
    is_plain = headers.get("x-amz-server-side-encryption", "AES256") == "AES256"
    if "x-amz-request-id" in headers and is_plain and re.fullmatch(r"[0-9a-f]{32}", etag):
        return etag
    google = re.search(r"md5=([A-Za-z0-9+/]{22}==)", headers.get("x-goog-hash", ""))
    told = google[1] if google else headers.get("content-md5", "")
    return base64.b64decode(told).hex() if re.fullmatch(r"[A-Za-z0-9+/]{22}==", told) else ""
