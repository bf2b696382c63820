"""The ASGI application: a page, documents by their numbers, and endpoints of JSON."""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from askew._files import parse_json
from askew.cli._web._batches import Batcher, QueueFullError
from askew.cli._web._desk import AROUND, Asked, Desk
from askew.cli._web._page import asset, page

_MOST_BYTES, _MOST_SECONDS = 2**16, 10
_MOST_QUESTION, _MOST_TOP, _MOST_TEXTS = 2000, 50, 64
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def make_application(
    desk: Desk, *, hosts: Collection[str], waiting: int = 256, window: float = 0.003
) -> ASGIApp:
    """Make the application.

    Args:
        desk: What is asked.
        hosts: Names by which the server may be addressed.
        waiting: Requests of each kind that wait at most; more get 503.
        window: Seconds that a batch waits for more requests.

    Returns:
        The application. Its work runs in one thread, so that models answer one batch at a time.
    """
    endpoints = _Endpoints(desk, waiting=waiting, window=window)
    application = Starlette(
        routes=[
            Route("/", endpoints.page),
            Route("/page.js", endpoints.asset),
            Route("/page.css", endpoints.asset),
            Route("/api/documents/{row}", endpoints.document),
            Route("/api/{name}", endpoints.ask, methods=["POST"]),
        ],
        lifespan=endpoints.running,
        exception_handlers={HTTPException: _refusal, Exception: _failure},
    )
    return _Guard(application, frozenset(host.lower() for host in hosts))


class _Endpoints:
    """What the routes lead to."""

    def __init__(self, desk: Desk, *, waiting: int, window: float) -> None:
        self._desk, self._executor = desk, ThreadPoolExecutor(1)
        self._batchers = {
            name: Batcher(work, self._executor, waiting=waiting, window=window)
            for name, work in desk.works.items()
        }

    @asynccontextmanager
    async def running(self, _: Starlette) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(batcher.run()) for batcher in self._batchers.values()]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._executor.shutdown(cancel_futures=True)

    async def page(self, request: Request) -> Response:
        asked = request.query_params.get("lang") or request.headers.get("accept-language", "")
        return Response(page(asked, self._batchers), media_type="text/html; charset=utf-8")

    async def asset(self, request: Request) -> Response:
        text, kind = asset(request.url.path)
        return Response(text, media_type=kind)

    async def document(self, request: Request) -> Response:
        row, at = _number(request.path_params["row"]), _number(request.query_params.get("at"))
        context = self._desk.document(row)
        if context is None:
            raise HTTPException(404, "there is no such document")
        size = len(context.text)
        start = max(0, min(at, size) - AROUND)
        text = context.text[start : start + 2 * AROUND]
        return JSONResponse({"file": context.title, "start": start, "text": text, "size": size})

    async def ask(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._batchers:
            raise HTTPException(404, "nothing here answers that")
        body = await _body(request)
        asked = _texts(body) if name == "translate" else _question(body)
        try:
            return JSONResponse(await self._batchers[name].ask(asked))
        except QueueFullError:
            busy = {"Retry-After": "1"}
            raise HTTPException(503, "too many requests wait already", headers=busy) from None
        except ValueError as error:
            raise HTTPException(400, " ".join(str(error).split())) from None


class _Guard:
    """Refuses foreign names and foreign pages, and puts the headers that a browser obeys."""

    def __init__(self, application: ASGIApp, hosts: Collection[str]) -> None:
        self._application, self._hosts = application, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        application = self._application
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if _host_of(f"//{headers.get('host', '')}") not in self._hosts:
            application = JSONResponse({"error": "this server has another name"}, 421)
        elif origin is not None and _place_of(origin) != headers.get("host"):
            application = JSONResponse({"error": "another page may not ask"}, 403)
        await application(scope, receive, send_guarded)


def _place_of(origin: str) -> str | None:
    with suppress(ValueError):
        return urlsplit(origin).netloc
    return None


def _host_of(address: str) -> str | None:
    with suppress(ValueError):
        return urlsplit(address).hostname
    return None


def _number(text: str | None) -> int:
    if text is None:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise HTTPException(404, "there is no such document")
    return int(text)


async def _body(request: Request) -> Mapping[str, object]:
    """Read the JSON of a request, of bounded size and within bounded time."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "JSON is needed, of type application/json")
    raw = b""
    try:
        async with asyncio.timeout(_MOST_SECONDS):
            async for chunk in request.stream():
                raw += chunk
                if len(raw) > _MOST_BYTES:
                    raise HTTPException(413, f"at most {_MOST_BYTES} bytes are read")
    except TimeoutError:
        raise HTTPException(408, "the request came too slowly") from None
    try:
        body = parse_json(raw.decode("utf-8"))
    except ValueError:
        raise HTTPException(400, "JSON is needed, of whole Unicode") from None
    if not isinstance(body, dict):
        raise HTTPException(400, "a JSON object is needed")
    return body


def _question(body: Mapping[str, object]) -> Asked:
    question, top = body.get("question"), body.get("top", 3)
    if not isinstance(question, str) or not 0 < len(question.strip()) <= _MOST_QUESTION:
        raise HTTPException(400, f'"question" must have 1 to {_MOST_QUESTION} characters')
    if type(top) is not int or not 0 < top <= _MOST_TOP:
        raise HTTPException(400, f'"top" must be 1 to {_MOST_TOP}')
    return Asked(question.strip(), top)


def _texts(body: Mapping[str, object]) -> tuple[str, ...]:
    texts = body.get("texts")
    strings = [text for text in texts if isinstance(text, str)] if isinstance(texts, list) else []
    short = all(len(text) <= _MOST_QUESTION for text in strings)
    if (
        not isinstance(texts, list)
        or not 0 < len(strings) == len(texts) <= _MOST_TEXTS
        or not short
    ):
        raise HTTPException(
            400, f'"texts" must be 1 to {_MOST_TEXTS} texts of up to {_MOST_QUESTION} characters'
        )
    return tuple(strings)


async def _refusal(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


async def _failure(request: Request, error: Exception) -> Response:
    logging.getLogger("uvicorn.error").debug("failed", exc_info=error)
    return JSONResponse({"error": "this could not be answered"}, 500)
