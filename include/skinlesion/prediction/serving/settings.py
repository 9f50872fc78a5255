"""The server's settings: where it listens, what it takes. Apart from a run's, which Airflow's trigger form shows."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from typing import Any, Final, Self

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from skinlesion.foundation.cores import cores_allowed
from skinlesion.foundation.errors import DataError

MIB: Final = 2**20

TOKEN_VARIABLE: Final = "SKINLESION_API_TOKEN"
SHORTEST_TOKEN: Final = 16
"""Characters; a shorter one can be guessed by trying."""


class ServerSettings(BaseSettings):
    """Taken from the caller (`--set key=value`), else from `SKINLESION_SERVE_<NAME>`, else the default. Frozen.

    The token comes from `SKINLESION_API_TOKEN` only: command lines are seen by every user of a machine.
    """

    model_config = SettingsConfigDict(
        env_prefix="SKINLESION_SERVE_", frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True
    )

    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        title="Address",
        description=f"To listen on. Any but this machine's own (127.0.0.1) needs a token in {TOKEN_VARIABLE}.",
    )
    port: int = Field(default=8000, ge=0, le=65535, title="Port", description="0 takes a free one and says which.")
    threads: int = Field(
        default=0, ge=0, le=256, title="Threads", description="That predict; 0: one for each core this process may use."
    )
    max_upload_bytes: int = Field(
        default=32 * MIB, ge=1024, title="Largest upload (bytes)", description="Of a request, all its images together."
    )
    max_image_bytes: int = Field(default=20 * MIB, ge=1024, title="Largest image (bytes)")
    max_image_pixels: int = Field(
        default=25_000_000,
        ge=50_176,
        title="Largest image (pixels)",
        description="Refused by its header beyond this. The largest in the ISIC Archive have about 24 million. A "
        "PNG takes 18 bytes a pixel for a moment; large images are decoded one at a time.",
    )
    max_images: int = Field(default=64, ge=1, le=1000, title="Most images in a request")
    buffered_bytes: int = Field(
        default=96 * MIB,
        ge=1024,
        title="Most bytes of uploads in memory",
        description="Over all requests. Beyond it the answer is 503: come again.",
    )
    waiting_images: int = Field(
        default=256, ge=1, title="Most images waiting", description="Over all requests; beyond it, as above."
    )
    connections: int = Field(default=512, ge=2, title="Most connections")
    upload_seconds: float = Field(default=120, gt=0, title="Longest upload (seconds)")
    stall_seconds: float = Field(
        default=1.5,
        gt=0,
        title="Stalled upload: window (seconds)",
        description="An upload that brings fewer bytes than below in so long is ended, so that nobody holds places by "
        "sending a byte now and then. Raise it for people on slow links.",
    )
    stall_bytes: int = Field(default=4096, ge=1, title="Stalled upload: fewest bytes in a window")
    watch_seconds: float = Field(
        default=1.0, gt=0, title="Look for another model every (seconds)", description="A promotion or a rollback."
    )
    grad_cam_seconds: float = Field(
        default=60,
        gt=0,
        title="Grad-CAM: longest (seconds)",
        description="For one image, TensorFlow's start included. Its process is then ended and the next call starts another.",
    )
    grad_cam_waiting: int = Field(
        default=4, ge=1, title="Grad-CAM: most waiting", description="One image at a time; beyond it: 503, come again."
    )

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """Give the settings with these over the environment's and the defaults. Raises DataError that names each wrong one."""
        try:
            return cls(**settings)
        except ValidationError as error:
            raise DataError(_problems(error)) from None

    def threads_used(self) -> int:
        """Give the number of threads that predict."""
        return self.threads or cores_allowed()

    @property
    def is_loopback(self) -> bool:
        """Tell whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:  # a name, which may resolve to anything
            return False


def api_token(settings: ServerSettings) -> SecretStr | None:
    """Give the token that callers must show; None when none is set and only this machine can call.

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


def _problems(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_url=False, include_input=False):
        name = ".".join(str(part) for part in problem["loc"]) or "settings"
        if problem["type"] == "extra_forbidden":
            known = ", ".join(ServerSettings.model_fields)
            lines.append(f"The server has no setting `{name}`. It has: {known}.")
        else:
            lines.append(f"Setting `{name}` of the server: {problem['msg']}.")
    return "\n".join(lines)
