"""The page to ask on: answers, limits, and what strangers may not do."""

import asyncio
import contextlib
import http.client
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import uvicorn
from saved_model import saved
from small_answerer import answerer, contexts
from small_encoder import save_encoder
from typer.testing import CliRunner

from askew.cli import _serve, app
from askew.cli._web._application import make_application
from askew.cli._web._batches import Batcher, QueueFullError
from askew.cli._web._desk import Desk
from askew.models import Translator
from askew.text import Context, PassageSearch

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>"
DOCUMENTS = [
    Context("people.md", "# People\n\nAnna lives in Rome.\n\nBen lives in Oslo. 😀"),
    Context(f"{EVIL}.md", f"{EVIL} Carla lives in Lima."),
    Context("long.pdf", "word " * 20_000 + "\n\f\nDora lives in Quito."),
]
JSON = {"Content-Type": "application/json"}


@contextlib.contextmanager
def serving(desk, **settings):
    """A server on loopback, in a thread."""
    application = make_application(desk, hosts=["127.0.0.1", "localhost", "::1"], **settings)
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    config = uvicorn.Config(application, log_level="critical", ws="none", loop="asyncio")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture(scope="module")
def port():
    with serving(Desk(search=PassageSearch(DOCUMENTS))) as port:
        yield port


def request(port, method, path, body=None, headers=JSON):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


def ask(port, name="search", **body):
    status, _, text = request(port, "POST", f"/api/{name}", json.dumps(body))
    return status, json.loads(text)


def test_a_question_gets_its_passages_with_places(port):
    status, found = ask(port, question=" where is Ben? ", top=1)
    assert (status, found["question"]) == (200, "where is Ben?")
    (one,) = found["passages"]
    assert (one["document"], one["file"], one["heading"]) == (0, "people.md", "People")
    start, end = one["sentence"]
    assert DOCUMENTS[0].text[start:end].startswith("Ben lives in Oslo.")
    assert DOCUMENTS[0].text[one["start"] : one["end"]] == one["text"]
    assert ask(port, question="Dora?")[1]["passages"][0]["page"] == 2
    assert ask(port, question="zebra")[1]["passages"] == []


def test_a_document_is_shown_around_a_place(port):
    at = DOCUMENTS[2].text.index("Dora")
    status, _, text = request(port, "GET", f"/api/documents/2?at={at}")
    shown = json.loads(text)
    assert (status, shown["file"], shown["size"]) == (200, "long.pdf", len(DOCUMENTS[2].text))
    assert len(shown["text"]) <= 40_000
    assert shown["text"][at - shown["start"] :].startswith("Dora")


@pytest.mark.parametrize(
    "path",
    [
        "/api/documents/3",
        "/api/documents/-1",
        "/api/documents/1e0",
        "/api/documents/²",
        "/api/documents/..%2f..%2f..%2fetc%2fpasswd",
        "/api/documents/%2fetc%2fpasswd",
        "/../../../../etc/passwd",
        "/page.js/../../_application.py",
        "/page.html",
        "/_page.py",
        "//etc/passwd",
        "/api/documents/0?at=-5",
        "/api/documents/0?at=99999999999999",
    ],
)
def test_nothing_but_the_documents_is_reached(port, path):
    status, _, text = request(port, "GET", path.replace("²", "%C2%B2"))
    assert status in (404, 405)
    assert "root:" not in text
    assert "import" not in text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("", 400),
        ("{", 400),
        ("[]", 400),
        ("[" * 60_000, 400),
        ("{}", 400),
        ('{"question": 3}', 400),
        ('{"question": "  "}', 400),
        ('{"question": "a", "top": 0}', 400),
        ('{"question": "a", "top": 51}', 400),
        ('{"question": "a", "top": true}', 400),
        ('{"question": "\\ud800"}', 400),
        (b'{"question": "\xff"}', 400),
        (json.dumps({"question": "a" * 2001}), 400),
        (json.dumps({"question": "a" * 70_000}), 413),
        (json.dumps({"question": "a" * 2000}), 200),
    ],
)
def test_what_cannot_be_asked_is_refused(port, body, status):
    assert request(port, "POST", "/api/search", body)[0] == status


def test_models_that_are_not_there_answer_nothing(port):
    for name in ("answer", "translate", "other", "documents"):
        assert ask(port, name, question="a", texts=["a"])[0] == 404


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[", "a@evil"])
def test_another_host_name_is_refused(port, host):
    for method, path in (("GET", "/"), ("POST", "/api/search"), ("GET", "/api/documents/0")):
        status, _, text = request(port, method, path, "{}", {"Host": host, **JSON})
        assert status in (400, 421)
        assert "Anna" not in text
    assert request(port, "GET", "/", None, {"Host": f"localhost:{port}"})[0] == 200


def test_another_page_may_not_ask(port):
    body = '{"question": "Ben"}'
    for origin in ("http://evil.example", "null", "http://[", f"http://127.0.0.1:{port + 1}"):
        assert request(port, "POST", "/api/search", body, {"Origin": origin, **JSON})[0] == 403
    own = {"Origin": f"http://127.0.0.1:{port}"}
    assert request(port, "POST", "/api/search", body, own | JSON)[0] == 200
    assert request(port, "POST", "/api/search", body, {"Content-Type": "text/plain"})[0] == 415
    assert "access-control-allow-origin" not in request(port, "GET", "/")[1]


def test_a_browser_is_told_to_run_nothing_else(port):
    for path in ("/", "/page.js", "/nothing", "/api/documents/0"):
        headers = request(port, "GET", path)[1]
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
    for language, word in (("en", "Search"), ("pt-BR", "Buscar")):
        page = request(port, "GET", f"/?lang={language}")[2]
        assert f">{word}</button>" in page
        assert not re.search(r"<script(?! src=\"/page.js\" defer>)|\son\w+=|style=", page)
    assert EVIL not in request(port, "GET", f"/?lang={EVIL.replace(' ', '%20')}")[2]


def test_the_script_puts_in_text_and_never_markup():
    script = (Path(make_application.__code__.co_filename).parent / "page.js").read_text()
    assert "textContent" in script
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", script)


def test_answers_and_translations(tmp_path):
    saved(tmp_path)
    model, translator = answerer(), Translator.from_pretrained(tmp_path)
    index = model.encode(contexts(3))
    index.update(dropped=[1])
    desk = Desk(
        search=PassageSearch(index.contexts, passages=[]),
        answerer=model,
        index=index,
        translator=translator,
    )
    with serving(desk) as port:
        status, found = ask(port, "answer", question="where is anna", top=2)
        expected = model.answer("where is anna", index, top_k=2)
        assert status == 200
        assert [one["answer"] for one in found["answers"]] == [one.text for one in expected]
        assert found["nothing"] == expected[0].nothing
        for one in found["answers"]:
            first, last = (place - one["start"] for place in one["sentence"])
            assert one["text"][first:last] == one["answer"]
        assert ask(port, "answer", question="anna " * 30)[0] == 400
        assert request(port, "GET", "/api/documents/1")[0] == 404
        assert request(port, "GET", "/api/documents/2")[0] == 200
        texts = ["three trees", "bees"]
        assert ask(port, "translate", texts=texts) == (
            200,
            {"translations": translator.translate(texts)},
        )
        for wrong in ([], "bees", ["a"] * 65, [3], ["a" * 2001]):
            assert ask(port, "translate", texts=wrong)[0] == 400


def test_requests_of_the_same_moment_are_one_batch():
    batches = []

    def work(asked):
        batches.append(list(asked))
        return [ValueError("no") if one == 13 else one * 2 for one in asked]

    async def run():
        batcher = Batcher(work, ThreadPoolExecutor(1), most=8, waiting=40, window=0.05)
        task = asyncio.create_task(batcher.run())
        asked = [3, 1, 3, 13, *range(20, 26)]
        found = await asyncio.gather(*map(batcher.ask, asked), return_exceptions=True)
        assert [str(one) for one in found] == ["6", "2", "6", "no", *map(str, range(40, 52, 2))]
        assert batches == [[3, 1, 13, 20, 21, 22, 23], [24, 25]]
        late = [batcher.ask(number) for number in range(50)]
        found = await asyncio.gather(*late, return_exceptions=True)
        assert sum(isinstance(one, QueueFullError) for one in found) == 10
        task.cancel()

    asyncio.run(run())


def test_a_full_queue_is_said_and_work_goes_on():
    go = threading.Event()

    def search(question, top):
        assert go.wait(60)
        if question == "fail":
            raise RuntimeError("a secret path")
        return []

    desk = Desk(search=SimpleNamespace(search=search, contexts=[]))
    with serving(desk, waiting=4) as port, ThreadPoolExecutor(12) as clients:
        first = clients.submit(ask, port, question="first")
        time.sleep(0.5)  # it is being worked off, and the others wait
        others = [clients.submit(ask, port, question=f"{number}") for number in range(9)]
        deadline = time.monotonic() + 30
        while sum(one.done() for one in others) < 5 and time.monotonic() < deadline:
            time.sleep(0.05)
        go.set()
        statuses = sorted(one.result()[0] for one in others)
        assert (first.result()[0], statuses) == (200, [200] * 4 + [503] * 5)
        assert ask(port, question="fail") == (500, {"error": "this could not be answered"})
        assert ask(port, question="after")[0] == 200


def many_clients(port, count):
    names = ["Rome", "Oslo", "Lima", "Quito"]

    def client(number):
        place = names[number % 4]
        status, found = ask(port, question=f"Who lives in {place}, {number}?", top=1)
        return status == 200 and place in found["passages"][0]["text"]

    with ThreadPoolExecutor(count) as clients:
        return list(clients.map(client, range(3 * count)))


def test_many_clients_get_their_own_answers(port):
    assert all(many_clients(port, 24))


@pytest.mark.slow
def test_two_hundred_clients_get_their_own_answers(port):
    assert all(many_clients(port, 200))


SERVE = """
import sys
from askew.cli import app
try:
    app(sys.argv[1:])
finally:
    heavy = {"torch", "transformers", "sklearn"} & set(sys.modules)
    print(f"with {heavy}" if heavy else "without PyTorch", file=sys.stderr)
"""


def test_the_command_serves_until_it_is_interrupted(tmp_path):
    (tmp_path / "a.md").write_text("Anna lives in Rome.")
    serve = ["serve", "--context", str(tmp_path), "--port", "0"]
    command = [sys.executable, "-c", SERVE, *serve]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        address = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address), process.stderr.read()
        port = int(address.rstrip("/").rpartition(":")[2])
        assert ask(port, question="Anna")[1]["passages"][0]["file"] == "a.md"
        taken = CliRunner().invoke(app, ["serve", "--context", str(tmp_path), "--port", str(port)])
        assert (taken.exit_code, taken.stderr.count("\n")) == (2, 1)
        assert "the address must be free" in taken.stderr
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        read = f"askew: read 1 document from {tmp_path}\n"
        assert (process.returncode, errors) == (0, read + "without PyTorch\n")
    finally:
        process.kill()


def test_an_index_is_served_by_its_table_of_tokens_as_it_is_searched(tmp_path, monkeypatch):
    documents, index = tmp_path / "documents", str(tmp_path / "index")
    documents.mkdir()
    (documents / "a.md").write_text("Anna lives in Rome.\n\nBen lives in Oslo.")
    (documents / "b.md").write_text("Carla lives in Lima.")
    encoder = save_encoder(tmp_path / "encoder")
    asked = ["search", "Who is in Oslo?", "--index", index, "--question-encoder", "static"]
    asked += ["--json", "--quiet"]
    made = [*asked, "--encoder", str(encoder), "--context", str(documents)]
    assert CliRunner().invoke(app, made).exit_code == 0
    shutil.rmtree(encoder)
    expected = json.loads(CliRunner().invoke(app, asked).stdout)["passages"]
    desks, make = [], _serve._desk
    monkeypatch.setattr(_serve, "_desk", lambda *given, **_: desks.append(make(*given)) or stop())
    words = ["serve", "--index", index, "--question-encoder", "static", "--quiet"]
    assert "far enough" in CliRunner().invoke(app, words).stderr
    with serving(desks[0]) as port:
        found = ask(port, question="Who is in Oslo?", top=3)[1]["passages"]
    keys = ("text", "score", "start", "end")
    assert len(expected) == 2
    assert [[one[key] for key in keys] for one in found] == [
        [one[key] for key in keys] for one in expected
    ]


def test_the_fast_engine_serves_what_it_can_compute(tmp_path, monkeypatch):
    saved(tmp_path)
    desks, make = [], _serve._desk
    monkeypatch.setattr(_serve, "_desk", lambda *given, **_: desks.append(make(*given)) or stop())
    for engine in ("auto", "torch"):
        words = ["serve", "--translate", str(tmp_path), "--engine", engine]
        assert CliRunner().invoke(app, words).exit_code == 2
    fast, plain = (desk.translator for desk in desks)
    assert type(fast.engine).__name__ == "CTranslate2Engine" != type(plain.engine).__name__
    with serving(desks[0]) as port:
        asked = {"texts": ["three trees", "bees"]}
        found = ask(port, "translate", **asked)
    assert found == (200, {"translations": plain.translate(asked["texts"])})


def stop():
    raise ValueError("far enough")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "there must be something to ask; got nothing. Give --context"),
        (["--context", "A", "--index", "A"], "--index goes with DIR or --encoder; got both or nei"),
        (["A", "--index", "A", "--question-encoder", "static"], "--index goes with DIR or --encod"),
        (
            ["--context", "A", "--question-encoder", "static"],
            "serve: --question-encoder goes with --index; got none",
        ),
        (
            ["--context", "A", "--index", "A", "--question-encoder", "static"],
            "--index goes with --encoder; got none",
        ),
        (
            ["--index", "A", "--question-encoder", "static"],
            "serve: --question-encoder static is made by the encoder; got none",
        ),
        (["--context", "A", "--jobs", "2"], "serve: --jobs goes with --encoder"),
        (["--context", "A", "--dtype", "int8"], "serve: --dtype goes with --encoder"),
        (["--context", "A", "--jobs", "-1"], "Invalid value for '--jobs'"),
        (["A"], "DIR answers from documents; got none. Give --context"),
        (["--context", "A", "--engine", "torch"], "--engine goes with --translate; got --engine t"),
        (["--translate", "A", "--engine", "fast"], "engine must be torch or ctranslate2; got 'fas"),
        (["--context", "A/none"], "the path must exist"),
        (["--context", "A", "--port", "70000"], "--port"),
        (["--context", "A", "--host", "203.0.113.7"], "the address must be free and of this mach"),
    ],
)
def test_what_cannot_be_served_is_refused(tmp_path, words, message):
    (tmp_path / "a.md").write_text("Anna lives in Rome.")
    words = [word.replace("A", str(tmp_path)) if word[0] == "A" else word for word in words]
    done = CliRunner().invoke(app, ["serve", *words])
    assert (done.exit_code, done.output.count("\n")) == (2, 1)
    assert message in done.output
