"""What may be shown of a text that can hold secrets: the log, an XCom, a notice and a terminal are read by many."""

from __future__ import annotations

import os
import re
from typing import Final

HIDDEN: Final = "***"

SHORTEST: Final = 8
"""Characters of the shortest value of the environment that is taken for a secret: shorter ones are words of sentences."""

_ADDRESS: Final = re.compile(r"""([a-z][a-z0-9+.-]*://)([^\s'"<>`]+)""", re.IGNORECASE)

_PASSWORD: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^:/@\s]*:([^@\s]+)@", re.IGNORECASE)

_NAMED: Final = re.compile(
    r"""([\w-]*(?:token|signature|password|passwd|secret|credential|access_?key(?:_?id)?|api_?key)|sig)=([^\s&'",;)]+)""",
    re.IGNORECASE,
)

_BEARER: Final = re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]{8,}", re.IGNORECASE)

_SECRET_VARIABLE: Final = re.compile(r"PASSWORD|SECRET|TOKEN|_KEY(_|$)|^AIRFLOW_CONN_|SQL_ALCHEMY_CONN|BROKER_URL")


def without_secrets(text: str, *, paths: bool = True) -> str:
    """Return the text without the secrets of the environment, and without what may be one in its addresses.

    Of an address it hides user, password, query and fragment. With `paths=False` it leaves scheme and host alone: the path of
    a chat server's webhook is its secret.
    """
    for value in secrets_of_environment():
        text = text.replace(value, HIDDEN)
    text = _ADDRESS.sub(lambda found: found[1] + _shown(found[2], paths), text)
    return _BEARER.sub(rf"\1 {HIDDEN}", _NAMED.sub(rf"\1={HIDDEN}", text))


def secrets_of_environment() -> list[str]:
    """Return the values of the variables whose names say that they are secret, and the passwords in addresses; longest first."""
    named = {value for name, value in os.environ.items() if _SECRET_VARIABLE.search(name)}
    passwords = {found[1] for value in os.environ.values() if (found := _PASSWORD.match(value))}
    return sorted((value for value in named | passwords if len(value) >= SHORTEST), key=len, reverse=True)


def _shown(rest: str, paths: bool) -> str:
    """Return what may be shown of an address after its scheme."""
    before, mark = re.split(r"[?#]", rest, maxsplit=1)[0], re.search(r"[?#]", rest)
    authority = before.partition("/")[0]
    # A password may have a slash in it: then what looks like a port is none.
    if "@" in authority or ("@" in before and not re.fullmatch(r"\[.*\](:\d+)?|[^:]*(:\d+)?", authority)):
        before = before.rpartition("@")[2]
        authority = before.partition("/")[0]
    if not paths:
        return authority.rstrip(".,;:)]}")
    return f"{before}{mark[0]}{HIDDEN}" if mark else before
