"""Signatures of versions: that the files in service are those that this installation registered.

A SHA-256 beside a file shows damage; whoever can write the file can write another SHA-256 too. A signature needs the private
key. `register` signs the files of a version with it (name and SHA-256 of each, as a release has them), `promote` and
`rollback` carry the signature into the release, and the server and `skinlesion predict` verify it with the public key before
they use the model. The format is OpenSSF Model Signing's, so other programs can verify it too:

    model_signing verify key models/in_service/ --signature models/in_service/model.sig --public_key public.pem \
        --ignore_unsigned_files

Without a key all works unsigned, unless the installation requires signatures. `python -m skinlesion.registry.signature` makes
the pair of keys.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from skinlesion.foundation import atomic, layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.settings import PROJECT_ROOT, Settings, setting
from skinlesion.registry.model_files import released

if TYPE_CHECKING:
    from model_signing import manifest

log = logging.getLogger(__name__)

SIGNATURE: Final = "model.sig"
"""Name of a release's signature, beside its files."""

PRIVATE: Final = "private.pem"
PUBLIC: Final = "public.pem"


class SignatureSettings(Settings):
    """Where the keys are, from the environment alone: who triggers a run does not choose them."""

    section = "Signatures"

    signing_key: Path | None = setting(
        None,
        "Signing key",
        "The private key, a PEM file on an elliptic curve, which registers versions. Without it "
        "`$AIRFLOW_HOME/signing/private.pem` is taken if it is there.",
    )
    verifying_key: Path | None = setting(
        None,
        "Verifying key",
        "The public key, a PEM file, which promotes, serves and predicts. Without it `$AIRFLOW_HOME/signing/public.pem` is "
        "taken if it is there.",
    )
    require_signature: bool = setting(
        False,
        "Require signatures",
        "Refuse a version without a signature, and every version where there is no public key.",
    )

    def private(self) -> Path | None:
        """Return the private key; None if there is none. Raises DataError if one is named and not there."""
        return _key(self.signing_key, PRIVATE)

    def public(self) -> Path | None:
        """Return the public key; None if there is none. Raises DataError if one is named and not there, or one is required."""
        found = _key(self.verifying_key, PUBLIC)
        if found is None and self.require_signature:
            raise DataError(
                f"This installation requires signatures (SKINLESION_REQUIRE_SIGNATURE), and there is no public key in "
                f"{key_folder()}. Put {PUBLIC} there, or name the file in SKINLESION_VERIFYING_KEY."
            )
        return found


def key_folder() -> Path:
    """Return the folder of the keys: beside Airflow's other secrets, and apart from the models that they protect."""
    return Path(os.environ.get("AIRFLOW_HOME") or PROJECT_ROOT / ".airflow") / "signing"


def make_keys(folder: Path) -> None:
    """Write a pair of keys, P-256, unless there is one; nobody else may read the private key."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    if (folder / PRIVATE).exists():
        return
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = ec.generate_private_key(ec.SECP256R1())
    encoding, shape = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    atomic.write_bytes(folder / PUBLIC, key.public_key().public_bytes(encoding, shape))
    content = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with atomic.replacing(folder / PRIVATE) as partial:
        partial.touch(mode=0o600)
        partial.write_bytes(content)


def sign(models: Path, number: int, sha256: Mapping[str, str]) -> None:
    """Sign the files of a version, unless they are signed or there is no key. The caller holds the registry's lock.

    sha256: of each file, by its name as a candidate's.
    """
    settings = SignatureSettings.of({})
    key = settings.private()
    if key is None:
        _say_once("There is no key to sign with: versions are registered unsigned")
        return
    if key.stat().st_mode & 0o007:
        raise DataError(f"{key} can be read by everybody. Make it the owner's alone (chmod 600).")
    files = released(sha256)
    path, public = signature_path(models, number), settings.public()
    if public is not None and path.is_file() and not _problem(path, public, files):
        return
    from model_signing import signing

    try:
        config = _untyped(signing.Config).use_elliptic_key_signer(private_key=key).set_hashing_config(_Listed(files))
    except (ValueError, TypeError) as error:
        raise DataError(f"{key} is no private key to sign with ({error}): expected an elliptic curve's, PEM.") from None
    with atomic.replacing(path) as partial:
        config.sign(models, partial)


def carry(models: Path, number: int, sha256: Mapping[str, str], release: Path, others: Sequence[Path] = ()) -> None:
    """Copy the signature of a version into a release, and verify it as `require` does.

    Args:
        models: the models folder.
        number: of the version.
        sha256: of each file of the release, by name.
        release: folder of the release.
        others: folders of other releases of these files, which have the signature too.
    """
    found = next(
        (path for path in (signature_path(models, number), *(one / SIGNATURE for one in others)) if path.is_file()),
        None,
    )
    if found is not None:
        atomic.write_bytes(release / SIGNATURE, found.read_bytes())
    require(release / SIGNATURE, sha256, number)


def require(signature: Path, sha256: Mapping[str, str], number: int) -> None:
    """Raise DataError if the signature of a version does not verify, or if there is none and one is required.

    Args:
        signature: path of it, in a release or in the registry (`signature_path`).
        sha256: of each of the version's files, by its name in a release; the caller has compared the files.
        number: of the version.
    """
    settings = SignatureSettings.of({})
    public = settings.public()
    if public is None:
        return
    if not signature.is_file():
        what = f"Version {number} is not signed ({signature} is missing)"
        if settings.require_signature:
            raise DataError(
                f"{what}, and this installation requires signatures. Evaluate the version again, which signs it, and promote it."
            )
        _say_once(what)
        return
    if problem := _problem(signature, public, sha256):
        raise DataError(
            f"{signature} of version {number} does not verify with {public}: {problem}. The model is not used. Promote or roll "
            "back to a version that was signed with this key."
        )


def _problem(signature: Path, public: Path, sha256: Mapping[str, str]) -> str:
    """Return why a signature does not verify; empty if it does."""
    from model_signing import verifying

    try:
        config = _untyped(verifying.Config).use_elliptic_key_verifier(public_key=public)
        config.set_hashing_config(_Listed(sha256)).verify(signature.parent, signature)
    except Exception as error:  # whatever a damaged or forged file leads to: it does not verify
        return f"{type(error).__name__}: {str(error)[:300]}".rstrip(": .")
    return ""


class _Listed:
    """Stands in for the library's hashing: the files' SHA-256 are known, and were compared by those who ask."""

    def __init__(self, sha256: Mapping[str, str]) -> None:
        self._sha256 = sha256

    def hash(self, model_path: Path, *, files_to_hash: object = None) -> manifest.Manifest:
        """Return the library's list of the files."""
        from model_signing import manifest
        from model_signing._hashing.hashing import Digest

        how = manifest.SerializationType.from_args({"method": "files", "hash_type": "sha256", "allow_symlinks": False})
        items = [
            manifest.FileManifestItem(path=PurePosixPath(name), digest=Digest("sha256", bytes.fromhex(digest)))
            for name, digest in sorted(self._sha256.items())
        ]
        return manifest.Manifest("skin_lesion_classifier", items, how)

    def add_ignored_paths(self, **paths: Any) -> None:
        """Ignore no path: the list is what was signed."""


def _untyped(config: Any) -> Any:
    """Return a new configuration of the library, whose types do not allow for `_Listed`."""
    return config()


def signature_path(models: Path, number: int) -> Path:
    """Return the path of the signature of a version."""
    return layout.registry(models) / "signatures" / f"{number}.sig"


def _key(named: Path | None, name: str) -> Path | None:
    path = named or key_folder() / name
    if path.is_file():
        return path
    if named is not None:
        raise DataError(f"{path} is missing: expected the key that the environment names.")
    return None


@functools.cache
def _say_once(sentence: str) -> None:
    log.info("%s", sentence)


if __name__ == "__main__":
    make_keys(key_folder())
