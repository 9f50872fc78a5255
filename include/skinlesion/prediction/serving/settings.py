"""The server's settings: where it listens and what it accepts. A run's settings are separate."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Self

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from skinlesion.foundation.cores import cores_allowed
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.settings import Settings

MIB: Final = 2**20

TOKEN_VARIABLE: Final = "SKINLESION_API_TOKEN"
SHORTEST_TOKEN: Final = 16
"""Characters of the shortest token that cannot be guessed by trying."""


class ServerSettings(Settings):
    """Settings from the caller (`--set key=value`), else from `SKINLESION_SERVE_<NAME>`, else the default. Frozen.

    The token comes from `SKINLESION_API_TOKEN` only: every user of a machine sees its command lines.
    """

    model_config = SettingsConfigDict(env_prefix="SKINLESION_SERVE_")

    where_listed: ClassVar[str] = "The reference lists the settings of the server."

    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        title="Address",
        description=f"Address to listen on. Any but this machine's own (127.0.0.1) needs a token in {TOKEN_VARIABLE}.",
    )
    port: int = Field(
        default=8000, ge=0, le=65535, title="Port", description="With 0 the server chooses a free port and prints it."
    )
    hosts: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9_.:\s,-]*$",
        title="Names",
        description="Names, separated by commas, under which people reach the server beside this machine's own, such as that of "
        "the proxy in front of it. A request for another name is refused. Empty: the machine's own names alone, and any name "
        "where the server listens for others, whom its token keeps out.",
    )
    threads: int = Field(
        default=0,
        ge=0,
        le=256,
        title="Threads",
        description="Threads that predict. With 0 there is one for each core that this process may use.",
    )
    max_upload_bytes: int = Field(
        default=32 * MIB, ge=1024, title="Largest upload (bytes)", description="All images of a request together."
    )
    max_image_bytes: int = Field(default=20 * MIB, ge=1024, title="Largest image (bytes)")
    max_image_pixels: int = Field(
        default=25_000_000,
        ge=50_176,
        title="Largest image (pixels)",
        description="An image with more is refused by its header. The largest in the ISIC Archive have about 24 million. "
        "A PNG takes 18 bytes per pixel while it is decoded; large images are decoded one at a time.",
    )
    max_images: int = Field(default=64, ge=1, le=1000, title="Most images in a request")
    connections: int = Field(default=512, ge=2, title="Most connections", description="Beyond it the answer is 503.")
    upload_seconds: float = Field(
        default=120, gt=0, title="Longest upload (seconds)", description="Beyond it the answer is 408."
    )
    watch_seconds: float = Field(
        default=1.0,
        gt=0,
        title="Look for another model every (seconds)",
        description="How soon a promotion or a rollback takes effect.",
    )
    log: str = Field(
        default="",
        title="Prediction log",
        description="Folder in which each answer is noted, without pictures, names and free text (docs/how-to/in-use.md). Empty: "
        "nothing is noted.",
    )
    log_days: int = Field(
        default=365, ge=1, title="Prediction log: kept (days)", description="Older entries and diagnoses are removed."
    )
    shadow: bool = Field(
        default=False,
        title="Shadow",
        description="Ask the newest candidate that waits for its promotion about each picture too, beside the answers, and note in "
        "the prediction log what it says; see `log`.",
    )
    grad_cam_seconds: float = Field(
        default=60,
        gt=0,
        title="Grad-CAM: longest (seconds)",
        description="For one image, including TensorFlow's start. Then the process is ended; the next call starts another.",
    )
    grad_cam_waiting: int = Field(
        default=4,
        ge=1,
        title="Grad-CAM: most waiting",
        description="Grad-CAM works on one image at a time. Beyond this number the answer is 503.",
    )

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """Return the settings: these, else the environment's, else the defaults. Raises DataError, which names each wrong one."""
        found = super().of(settings)
        if found.shadow and not found.log:
            raise DataError(
                "Setting `shadow` of the server: what the candidate says goes to the prediction log alone, and there is none. Name "
                "its folder in the setting `log` (SKINLESION_SERVE_LOG)."
            )
        return found

    def threads_used(self) -> int:
        """Return the number of threads that predict."""
        return self.threads or cores_allowed()

    @property
    def is_loopback(self) -> bool:
        """Return whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:  # a name, which may resolve to anything
            return False


def api_token(settings: ServerSettings) -> SecretStr | None:
    """Return the token that callers must send; None when none is set and only this machine can call.

    Raises DataError when the server would be open to others, or the token is too short.
    """
    token = os.environ.get(TOKEN_VARIABLE, "")
    if not token:
        if settings.is_loopback:
            return None
        raise DataError(
            f"The server would listen on {settings.host}, which other machines can reach, without a token. Put one of at "
            f"least {SHORTEST_TOKEN} characters into {TOKEN_VARIABLE} (`openssl rand -hex 24` makes one), or listen on "
            "127.0.0.1."
        )
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise DataError(
            f"{TOKEN_VARIABLE}: expected at least {SHORTEST_TOKEN} printable ASCII characters without a space, found "
            f"{len(token)} characters. `openssl rand -hex 24` makes a token."
        )
    return SecretStr(token)
