"""The requests of the explorer's page, which only this machine and only this page can make.

A request is refused unless its address contains the token, its Host is this machine with this port, and its Origin, if
there is one, is the page itself. The answers forbid browsers to load anything from elsewhere.
"""

import importlib.util
import json
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxvae.explorer.page import explorer_html
from jaxvae.explorer.state import Explorer

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from uvicorn import Server

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")
MOST_JSON = 4_000_000
"""Largest number of bytes of a question."""
MOST_UPLOAD = 10_000_000
"""Largest number of bytes of a user's own picture."""
GRACE = 1
"""Number of seconds that open connections have to end."""
FRAMES = "http://127.0.0.1:* http://localhost:* https://127.0.0.1:* https://localhost:* vscode-webview:"
"""Pages of notebooks, which may show the explorer in a frame."""
WRONG_TOKEN = "the token in the address is wrong: open the address that the command printed"
HEADERS = {
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Refused(Exception):
    """A request that is not answered: its status code and the reason."""

    def __init__(self, status: int, reason: str):
        super().__init__(reason)
        self.status = status


def require_packages() -> None:
    """Raises ValueError, with the line that installs them, if the packages of the explorer are missing."""
    missing = [name for name in ("starlette", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f"the explorer needs {' and '.join(missing)}: pip install 'jaxvae[explore]'")


def new_token() -> str:
    """Returns a random token for the address of a page."""
    return secrets.token_urlsafe(24)


def open_port(port: int) -> socket.socket:
    """Binds a port of this machine; 0 stands for any free one.

    Raises:
      ValueError: The port cannot be used.
    """
    if not 0 <= port < 2**16:
        raise ValueError(f"--port must be 0 to {2**16 - 1}, got {port}")
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((HOST, port))
        found.listen()
    except OSError as error:
        found.close()
        raise ValueError(f"port {port} can't be used ({error.strerror}): choose another --port") from error
    return found


def address(port: int, token: str) -> str:
    """Returns the address of the page, or of what leads to it with a code in place of the token."""
    return f"http://{HOST}:{port}/{token}/"


def application(
    explorer: Explorer, token: str, port: int, *, framed: bool = False, once: str | None = None
) -> "Starlette":
    """Returns the explorer as an ASGI application.

    Args:
      explorer: Run to explore.
      token: Token that addresses must contain.
      port: Port that requests must be sent to.
      framed: Whether pages of notebooks may show it in a frame.
      once: Code whose address leads to the page, once. A browser is started with it, because other users of the machine
        can read the arguments of its process, and the token is good for as long as the server runs.
    """
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.middleware import Middleware
    from starlette.responses import HTMLResponse, JSONResponse, Response
    from starlette.routing import Route

    def answer(value: Any) -> Response:
        if isinstance(value, bytes):
            return Response(value, media_type="application/octet-stream")
        return JSONResponse(value)

    async def page(request: "Request") -> Response:
        return HTMLResponse(explorer_html(explorer))

    async def about(request: "Request") -> Response:
        return JSONResponse(await run_in_threadpool(explorer.describe))

    async def examples(request: "Request") -> Response:
        rows = [int(row) for row in request.query_params.get("at", "").split(",")]
        if len(rows) > 200:
            raise ValueError("at most 200 examples are sent at a time")
        return answer(explorer.examples_at(rows))

    async def decode(request: "Request") -> Response:
        asked = await _json(request)
        base = None if asked.get("base") is None else _numbers(asked["base"])
        rows = _rows(asked.get("rows"))
        return answer(await run_in_threadpool(explorer.decode, _numbers(asked.get("codes")), base, rows))

    async def encode(request: "Request") -> Response:
        return answer(await run_in_threadpool(explorer.encode, await _body(request, MOST_UPLOAD)))

    async def prior(request: "Request") -> Response:
        seed = int(request.query_params.get("seed", "0")) % 2**31
        return answer({"code": await run_in_threadpool(explorer.draw_from_prior, seed)})

    async def animation(request: "Request") -> Response:
        asked = await _json(request)
        codes, values = _numbers(asked.get("codes")), _numbers(asked.get("values"))
        name, rows = str(asked.get("name", "")), _rows(asked.get("rows"))
        made = await run_in_threadpool(explorer.animate, codes, values, name, rows)
        return Response(made, media_type="image/gif")

    async def drawn(request: "Request") -> Response:
        number = int(request.query_params.get("page", "0"))
        return Response(await run_in_threadpool(explorer.drawn, number), media_type="image/png")

    routes = {"": page, "about": about, "examples": examples, "prior": prior, "drawn": drawn}
    questions = {"decode": decode, "encode": encode, "animation": animation}

    async def refused(request: "Request", error: Exception) -> Response:
        return Response(str(error), getattr(error, "status", 400), media_type="text/plain; charset=utf-8")

    return Starlette(
        routes=[
            *(Route(f"/{token}/{name}", answered, methods=["GET"]) for name, answered in routes.items()),
            *(Route(f"/{token}/{name}", answered, methods=["POST"]) for name, answered in questions.items()),
        ],
        middleware=[Middleware(Guard, token=token, port=port, framed=framed, once=once)],
        exception_handlers={ValueError: refused, Refused: refused},
    )


class Guard:
    """Refuses requests of others before they reach the application, and adds headers to every answer."""

    def __init__(self, app: Callable[..., Awaitable[None]], token: str, port: int, framed: bool, once: str | None):
        self.app, self.token, self.once = app, token, once
        self.hosts = {f"{name}:{port}" for name in NAMES}
        self.origins = {f"http://{host}" for host in self.hosts}
        ancestors = FRAMES if framed else "'none'"
        self.headers = {**HEADERS, "content-security-policy": f"frame-ancestors {ancestors}"}

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answers a request as the ASGI protocol asks for."""
        from starlette.responses import PlainTextResponse, RedirectResponse

        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                added = [(name.encode(), value.encode()) for name, value in self.headers.items()]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        reason = self._reason(scope)
        if reason == WRONG_TOKEN and self._is_once(scope):
            self.once = None
            await RedirectResponse(f"/{self.token}/", 303)(scope, receive, send_with_headers)
            return
        if reason is not None:
            await PlainTextResponse(reason, 403)(scope, receive, send_with_headers)
            return
        await self.app(scope, receive, send_with_headers)

    def _reason(self, scope: dict[str, Any]) -> str | None:
        """Returns the reason to refuse a request, or None."""
        if scope["type"] != "http":
            return "only HTTP is answered"
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        if [value for name, value in headers if name == "host"] not in [[host] for host in self.hosts]:
            return "the Host is not this machine"
        if any(value not in self.origins for name, value in headers if name == "origin"):
            return "the request comes from another page"
        return None if _is_secret(scope, self.token) else WRONG_TOKEN

    def _is_once(self, scope: dict[str, Any]) -> bool:
        return self.once is not None and scope["method"] == "GET" and _is_secret(scope, self.once)


def _is_secret(scope: dict[str, Any], secret: str) -> bool:
    """Whether the address of a request starts with a secret."""
    given = f"{scope['path']}/".split("/")[1]
    return secrets.compare_digest(given.encode(), secret.encode())


def server_of(app: Any, on_start: Callable[[], None] = lambda: None) -> "Server":
    """Returns a server of one process for the application, which Ctrl-C and SIGTERM stop without an error.

    Args:
      app: ASGI application.
      on_start: Function that is called when the server answers requests.
    """
    import signal
    import threading

    from uvicorn import Config, Server

    class Quiet(Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            on_start()

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            if threading.current_thread() is not threading.main_thread():
                yield
                return
            before = {one: signal.signal(one, self.handle_exit) for one in (signal.SIGINT, signal.SIGTERM)}
            try:
                yield
            finally:
                for one, handler in before.items():
                    signal.signal(one, handler)

    config = Config(
        app,
        log_level="critical",
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=GRACE,
    )
    return Quiet(config)


async def _body(request: "Request", most: int) -> bytes:
    """Reads the body of a request.

    Raises:
      Refused: It is longer than `most` bytes.
    """
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise Refused(413, f"at most {most:,} bytes are read")
        parts.append(part)
    return b"".join(parts)


async def _json(request: "Request") -> dict[str, Any]:
    try:
        asked = json.loads(await _body(request, MOST_JSON))
    except RecursionError as error:
        raise ValueError("the question is nested too deeply") from error
    if not isinstance(asked, dict):
        raise ValueError("a question is a JSON object")
    return asked


def _numbers(values: Any) -> np.ndarray:
    try:
        return np.array(values, np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError("codes must be lists of numbers of one length") from error


def _rows(values: Any) -> list[int | None] | None:
    if values is not None and not isinstance(values, list):
        raise ValueError("rows must be a list of numbers of examples")
    return values
