"""Guard the console. In: requests. Out: those that may pass, with headers that bind the browser.

The rule this file owns: with a token, pages and data need it, as a bearer or as the cookie of the
login page; without one, only names of this machine are answered, so that no page of another host
can read through the reader's browser (DNS rebinding). The browser may load from here alone.
"""

import hashlib
import hmac
from typing import Final
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sinks.console.answers import Failure
from sinks.console.replies import reply

COOKIE: Final = "planewatch"
LOGIN: Final = "/login"
FORM_BYTES_MAX: Final = 4_000
LOCAL: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        # The one exception: plotly.js positions text by style attributes of SVG elements. An
        # attribute cannot load or run anything. Its style sheet is ours (static/plotly.css).
        "style-src-attr 'unsafe-inline'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS: Final = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class Guard:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, *, token: str | None) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let it pass."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_bound(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        refused = self._refusal(scope)
        await (refused or self._app)(scope, receive, send_bound)

    def _refusal(self, scope: Scope) -> Response | None:
        headers, path = Headers(scope=scope), str(scope["path"])
        if self._token is None:
            host = headers.get("host", "")
            name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
            return None if name in LOCAL else _wrong_host(host)
        if path == LOGIN or path.startswith("/static/") or self._knows(headers, Request(scope)):
            return None
        if path.startswith("/api/"):
            remedy = f"Open {LOGIN}, or send the token as `Authorization: Bearer ...`."
            return reply(Failure(error="the token is missing or wrong", remedy=remedy), 401)
        return RedirectResponse(LOGIN, 303)

    def _knows(self, headers: Headers, request: Request) -> bool:
        assert self._token is not None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and same(given, self._token):
            return True
        return same(request.cookies.get(COOKIE, ""), cookie_of(self._token))


async def log_in(request: Request, token: str) -> Response:
    """Answer the login form: a cookie for who knows the token."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES_MAX:
            return RedirectResponse(f"{LOGIN}?wrong", 303)
    given = parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0].strip()
    if not same(given, token):
        return RedirectResponse(f"{LOGIN}?wrong", 303)
    answer = RedirectResponse("/", 303)
    answer.set_cookie(COOKIE, cookie_of(token), httponly=True, samesite="strict", path="/")
    return answer


def cookie_of(token: str) -> str:
    """Return the value of the cookie: a browser's profile shall not hold the token itself."""
    return hmac.new(token.encode(), b"planewatch console", hashlib.sha256).hexdigest()


def same(given: str, expected: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(given.encode(), expected.encode())


def _wrong_host(host: str) -> Response:
    remedy = "Open it as http://127.0.0.1, or set console.token_file to serve other names."
    return reply(Failure(error=f"this console is not called {host!r}", remedy=remedy), 421)
