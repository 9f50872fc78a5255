"""Checksums of files, and those that servers send."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from skinlesion.foundation.regular_file import NotAFile, open_file


@dataclass(frozen=True)
class Checksum:
    """An expected checksum: the algorithm by its name in hashlib, the digest in lower-case hex, and who published it."""

    algorithm: str
    digest: str
    origin: str


def sha256_of(content: Path | bytes) -> str:
    """Return the SHA-256 of a file, or of what was read from one, as 64 hex digits."""
    return hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else hash_of(content, "sha256")


def hash_of(path: Path, algorithm: str) -> str:
    """Return the digest of a file in hex; the algorithm is a name of hashlib. The file is read in blocks.

    Raises NotAFile (an OSError) for anything but a file.
    """
    with open_file(path) as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def have_same_content(one: Path, other: Path) -> bool:
    """Return whether two files hold the same bytes; False when one of them is missing, or is no file."""
    try:
        return one.stat().st_size == other.stat().st_size and sha256_of(one) == sha256_of(other)
    except (FileNotFoundError, NotAFile):
        return False


def md5_in_headers(headers: Mapping[str, str]) -> str:
    """Return the MD5 of the whole file that a server sends in its headers, in hex; empty when it sends none.

    The ETag of Amazon S3 is the MD5, unless the object was uploaded in several parts or is encrypted with a key of KMS
    (S3's API reference, "Object"). Google sends it in x-goog-hash; any server may send Content-MD5 (RFC 1864).
    """
    etag = headers.get("etag", "").strip('"')
    is_plain = headers.get("x-amz-server-side-encryption", "AES256") == "AES256"
    if "x-amz-request-id" in headers and is_plain and re.fullmatch(r"[0-9a-f]{32}", etag):
        return etag
    google = re.search(r"md5=([A-Za-z0-9+/]{22}==)", headers.get("x-goog-hash", ""))
    in_base64 = google[1] if google else headers.get("content-md5", "")
    return base64.b64decode(in_base64).hex() if re.fullmatch(r"[A-Za-z0-9+/]{22}==", in_base64) else ""
