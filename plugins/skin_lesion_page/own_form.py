"""Check that a change comes from this page's own form, and not from another site that a logged-in person visits (CSRF).

Airflow's cookie goes along with what another site makes a browser send (SameSite=Lax keeps back most of it, not what a
sibling domain or an old browser sends). So a request that the cookie authenticates must come from this origin, as the browser
says, and bring the token of a form that was made for this user. A request with a token of its own in the Authorization
header needs neither: no other site can set that.
"""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import urlsplit

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.tokens import get_signing_key
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.configuration import conf
from fastapi import Depends, Form, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from itsdangerous import BadSignature, URLSafeTimedSerializer

VALID_SECONDS: Final = 12 * 3600
"""How long a form stays valid."""

_BEARER: Final = HTTPBearer(auto_error=False)


def form_token(user: BaseUser) -> str:
    """Return the token for a form that is shown to the user."""
    return _serializer().dumps(user.get_id())


def require_own_form(
    request: Request,
    user: GetUserDep,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
    form_token: Annotated[str, Form()] = "",
) -> None:
    """Raise an HTTPException, 403, unless the request may be the user's own doing."""
    if bearer is not None:
        return
    if not _is_from_here(request):
        raise HTTPException(403, "Refused: this did not come from this page. Nothing was changed.")
    try:
        is_theirs = _serializer().loads(form_token, max_age=VALID_SECONDS) == user.get_id()
    except BadSignature:
        is_theirs = False
    if not is_theirs:
        raise HTTPException(
            403, "Refused: the form is too old, or another user's. Load the page again. Nothing was changed."
        )


OWN_FORM = Depends(require_own_form)


def _is_from_here(request: Request) -> bool:
    """Return whether Sec-Fetch-Site (sent over HTTPS and to localhost) and Origin, which no script can set, name this page."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is None and origin is None:
        return False
    return site in (None, "same-origin") and (origin is None or _is_own(origin, request))


def _is_own(origin: str, request: Request) -> bool:
    """Return whether an origin is the requested host or, behind a proxy that requests another, that of [api] base_url."""
    known = {request.headers.get("host", ""), urlsplit(conf.get("api", "base_url", fallback="")).netloc} - {""}
    return urlsplit(origin).netloc in known


def _serializer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(get_signing_key("api", "secret_key"), salt="skin-lesion-models")
