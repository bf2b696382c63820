"""The command `askew serve`: a page and endpoints of JSON to ask the user's documents."""

import asyncio
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from askew._check import requires_extra
from askew.cli._answer import open_answerer
from askew.cli._encoded_search import EncodedSearch, check_encodes
from askew.cli._engines import Engine, open_translator
from askew.cli._exits import check_paths, exit_on_user_error, print_notes, tell_read
from askew.cli._indexed_documents import Documents, check_documents, read_with_records
from askew.cli._options import Dtype, Jobs, QuestionEncoder, Quiet, Threads
from askew.cli._readers import choose_reader, search_words
from askew.cli._streams import show

if TYPE_CHECKING:
    from askew.cli._web._desk import Desk
    from askew.models import Translator

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_MOST_CONNECTIONS = 1000


def serve_command(
    folder: Annotated[
        Path | None, typer.Argument(help="Also answer: a folder that askew train qa wrote.")
    ] = None,
    *,
    context: Annotated[
        list[Path] | None,
        typer.Option(help="Search these: files or folders of text, PDF, HTML, DOCX …"),
    ] = None,
    index: Annotated[
        Path | None,
        typer.Option(help="Folder of the encoded documents, of DIR or of --encoder."),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(help="Search with an encoder too: its folder, or minilm."),
    ] = None,
    question_encoder: QuestionEncoder = None,
    translator: Annotated[
        Path | None,
        typer.Option("--translate", help="Also translate: a folder of a translation model."),
    ] = None,
    engine: Engine = "auto",
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 means any free port.")] = 8000,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Another host name under which browsers may open the page."),
    ] = None,
    queue: Annotated[
        int,
        typer.Option(min=1, help="How many requests may wait; further ones get the status 503."),
    ] = 256,
    dtype: Dtype = None,
    jobs: Jobs = 1,
    threads: Threads = 1,
    quiet: Quiet = False,
) -> None:
    """Serve a page on which you ask your documents, until you interrupt it.

    The page finds passages as `askew search` does, and answers as `askew answer` does. Programs
    get the same as JSON: POST /api/search, /api/answer and /api/translate. Only this machine can
    reach the page unless --host says otherwise. There are no passwords.
    """
    with exit_on_user_error():
        with requires_extra("serve", "web"):
            import starlette  # noqa: F401
            import uvicorn
        if folder is not None and not context and index is None:
            raise ValueError("serve: DIR answers from documents; got none. Give --context")
        if not context and index is None and translator is None:
            raise ValueError("serve: there must be something to ask; got nothing. Give --context")
        asks = encoder is not None or question_encoder is not None
        if translator is None and engine != "auto":
            raise ValueError(f"serve: --engine goes with --translate; got --engine {engine}")
        if index is not None and (folder is None) != asks:
            raise ValueError("serve: --index goes with DIR or --encoder; got both or neither")
        check_paths()
        check_encodes("serve", encoder, dtype, 1 if folder is not None else jobs)
        settings = {"jobs": jobs, "threads": threads, "quiet": quiet}
        encoded = None
        if asks:
            own = None if folder is not None else index
            encoded = EncodedSearch(
                caller="serve",
                encoder=encoder,
                index=own,
                question_encoder=question_encoder,
                dtype=dtype,
                **settings,
            )
            encoded.check(has_documents=bool(context))
        translates = None
        if translator is not None:
            translates = open_translator(translator, engine, threads=threads, quiet=quiet)
        given = read_with_records(context or ())
        desk = _desk(folder, given, index, encoded, translates, **settings)
        listener = _listener(host, port)
    tell_read(given.read, quiet=quiet)
    from askew.cli._web._application import make_application

    names = {host, *(allow_host or ()), *(_LOOPBACK if host in _LOOPBACK else ())}
    config = uvicorn.Config(
        make_application(desk, hosts=names, waiting=queue),
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        ws="none",
        loop="asyncio",
        http="h11",
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=5,
    )
    address = f"[{host}]" if ":" in host else host
    show(f"http://{address}:{listener.getsockname()[1]}/")
    sys.stdout.flush()
    with suppress(KeyboardInterrupt):  # which is how a server ends
        asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ValueError(
            f"serve: the address must be free and of this machine; got {host}, port {port}: "
            f"{error.strerror or error}"
        ) from None


def _desk(
    folder: Path | None,
    given: Documents,
    index: Path | None,
    encoded: EncodedSearch | None,
    translates: "Translator | None",
    **settings: Any,
) -> "Desk":
    from askew.cli._web._desk import Desk
    from askew.text import PassageSearch

    search, answerer, contexts = None, None, None
    if folder is not None:
        why = choose_reader(folder)[1]
        print_notes([] if why is None else [why])
        if index is not None and not given.contexts:
            print_notes(check_documents(index))
        answerer, contexts = open_answerer(folder, given, index, half=True, **settings)
        search = search_words(contexts)
    if encoded is not None:
        search = encoded.open(given)
    elif search is None and given.contexts:
        search = PassageSearch(given.contexts)
    return Desk(search=search, answerer=answerer, index=contexts, translator=translates)
