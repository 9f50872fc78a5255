"""isic-cli as a process of its own: with another address, without telemetry and questions, and telling what failed.

    python -m skinlesion.data.sources.isic_process '{"address": ..., ...}' image download -s QUERY -c COLLECTIONS FOLDER

Its command line has no options for these, so they are set here, in a process that does nothing else. isic-cli 12.4
swallows what fails in a download, and does not tell which files of which sizes the archive lists, nor which checksums its
store tells; these are written to the folder `record`.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import urlparse

import click
import isic_cli.cli
import isic_cli.cli.image
import isic_cli.io.http
import isic_cli.session
from tenacity import stop_after_attempt, wait_exponential

from skinlesion.foundation.checksum import md5_in_headers
from skinlesion.foundation.workers import end_with_parent

COUNTED: Final = "counted.json"
LISTED: Final = "listed.jsonl"
FAILED: Final = "failed.jsonl"
TOLD: Final = "told.jsonl"
SAID: Final = "said.txt"
"""How many images the archive counts; a line an image: file name, bytes; a line a failure: file name, reason; a line a
download: file name, MD5; and what ended the process."""

WRONG_QUESTION: Final = 2
NOT_REACHED: Final = 3
"""Exit statuses: the archive does not know what is asked for; it does not answer."""

_OFFICIAL: Final = "https://api.isic-archive.com"
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]*")


def main() -> int:
    """Run isic-cli with its settings changed; give the exit status."""
    settings: dict[str, Any] = json.loads(sys.argv[1])
    threading.Thread(target=end_with_parent, args=(settings["parent"],), daemon=True).start()
    record = Path(settings["record"])
    _change(settings)
    _record(record, settings["timeout"])
    # A login (`isic user login`) is one with the official server.
    guest = [] if settings["address"] == _OFFICIAL else ["--guest"]
    try:
        isic_cli.cli.cli([*guest, "--no-version-check", *sys.argv[2:]], standalone_mode=False)
    except click.ClickException as error:
        record.joinpath(SAID).write_text(error.format_message())
        return WRONG_QUESTION
    except (OSError, ValueError, KeyError, TypeError) as error:
        # requests' errors are OSErrors; the others: an answer that is not the archive's
        record.joinpath(SAID).write_text(f"{type(error).__name__}: {error}")
        return NOT_REACHED
    return 0


def _change(settings: dict[str, Any]) -> None:
    attempts, wait = settings["attempts"], settings["wait"]
    isic_cli.cli._sentry_setup = lambda: None
    isic_cli.cli.DOMAINS["prod"] = settings["address"]
    # It asks whether to go on when the disk has no room for all images, those that are here included.
    isic_cli.cli.image._check_and_confirm_available_disk_space = lambda *arguments: None
    # Its own waits for twenty minutes before it believes that a server is gone.
    isic_cli.session.ISIC_RETRY_STRATEGY = isic_cli.session.ISIC_RETRY_STRATEGY.new(total=attempts, backoff_factor=wait)
    isic_cli.io.http.download_image.retry.stop = stop_after_attempt(attempts)
    isic_cli.io.http.download_image.retry.wait = wait_exponential(multiplier=wait, max=30)


def _record(folder: Path, timeout: float) -> None:
    module, session = isic_cli.cli.image, isic_cli.session.IsicCliSession
    get_num_images, get_images, download_image = module.get_num_images, module.get_images, module.download_image
    request = session.request
    downloading = threading.local()

    def note(file: str, *values: Any) -> None:
        line = json.dumps(values) + "\n"
        with folder.joinpath(file).open("a") as lines:
            lines.write(line)

    def asking(self: Any, *arguments: Any, **options: Any) -> Any:
        answer = request(self, *arguments, **{"timeout": (min(timeout, 10), timeout)} | options)
        name = getattr(downloading, "name", "")
        if (
            name
            and answer.ok
            and (md5 := md5_in_headers({key.lower(): value for key, value in answer.headers.items()}))
        ):
            note(TOLD, name, md5)
        return answer

    def counting(*arguments: Any) -> int:
        count: int = get_num_images(*arguments)
        folder.joinpath(COUNTED).write_text(json.dumps(count))
        return count

    def listing(*arguments: Any) -> Iterator[dict[str, Any]]:
        for image in get_images(*arguments):
            # isic-cli makes names of files from these.
            for name in (image["isic_id"], image["copyright_license"]):
                if not _PLAIN.fullmatch(name):
                    raise ValueError(f"expected a plain name of an image or a licence, the archive gives {name!r}")
            note(LISTED, _file_name(image), image["files"]["full"]["size"])
            yield image

    def telling(image: dict[str, Any], **options: Any) -> None:
        downloading.name = _file_name(image)
        try:
            download_image(image, **options)
        except Exception as error:  # whatever it is, isic-cli swallows it: noted here, then left to it
            note(FAILED, _file_name(image), str(error))
            raise

    session.request = asking
    module.get_num_images, module.get_images, module.download_image = counting, listing, telling


def _file_name(image: dict[str, Any]) -> str:
    """Give the name under which isic-cli stores an image."""
    suffix = PurePosixPath(urlparse(image["files"]["full"]["url"]).path).suffix
    return f"{image['isic_id']}.{suffix.lstrip('.') or 'jpg'}"


if __name__ == "__main__":
    sys.exit(main())
