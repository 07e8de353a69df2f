# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The client against a server that does what a script says, well or badly."""

import asyncio
import concurrent.futures
import datetime
import functools
import http.server
import inspect
import ipaddress
import json
import os
import pickle
import socket
import ssl
import struct
import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pipeline.cli import main
from serving.client import (
    AsyncClient,
    Client,
    KnownQueries,
    Metadata,
    Recommendation,
    ServerError,
    Unreachable,
    VersionStatus,
)
from serving.errors import UserError
from serving.tokens import read_token

FOUND = {"candidate_id": "50", "title": "Star Wars (1977)", "score": 0.7181143}
ANSWER = {"model": "demo", "version": "17", "recommendations": [FOUND]}
READY = {"ready": True, "draining": False, "models": {"demo": {"17": "AVAILABLE"}}}
LEAST_WAIT_S = 0.02


class Asked(NamedTuple):
    """A request that has come in."""

    command: str
    path: str
    headers: Mapping[str, str]
    content: Any


class Handler(http.server.BaseHTTPRequestHandler):
    """Hands each request to the next step of the script."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        self.server.connections += 1

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.content = json.loads(body) if body else None
        asked = Asked(self.command, self.path, self.headers, self.content)
        self.server.asked.append(asked)
        self.server.step()(self)

    do_POST = do_GET

    def log_message(self, *arguments):
        pass


class Scripted(http.server.ThreadingHTTPServer):
    """A server that begins to listen when it is told to."""

    daemon_threads = False  # closing it waits for every request

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self.server_bind()
        self.script, self.last = [], answer(ANSWER)
        self.asked, self.connections = [], 0
        self.is_over = threading.Event()
        self.scheme, self.is_listening = "http", False

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.server_port}"

    def step(self):
        return self.script.pop(0) if self.script else self.last

    def listen(self):
        self.is_listening = True
        self.server_activate()
        threading.Thread(target=self.serve_forever, args=(LEAST_WAIT_S,)).start()

    def handle_error(self, request, client_address):
        pass  # whoever has asked has gone

    def end(self):
        self.is_over.set()
        if self.is_listening:
            self.shutdown()
        self.server_close()


def answer(content, status=200, **headers):
    """A step that answers."""

    def step(handler):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return step


def refuse(status, message="not now", **headers):
    return answer({"error": message}, status, **headers)


def hang_up(handler):
    handler.close_connection = True


def reset(handler):
    at_once = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
    os.close(handler.connection.detach())
    handler.close_connection = True


def stop_halfway(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"model"')
    handler.close_connection = True


def never(handler):
    handler.server.is_over.wait()
    handler.close_connection = True


def trickle(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    while not handler.server.is_over.wait(LEAST_WAIT_S):
        handler.wfile.write(b" ")


@pytest.fixture
def silent():
    """A server at whose port nobody listens yet."""
    server = Scripted()
    yield server
    server.end()


@pytest.fixture
def server():
    """A server that answers."""
    server = Scripted()
    server.listen()
    yield server
    server.end()


def in_blocking(url, call, **options):
    with Client(url, **{"model": "demo", **options}) as client:
        return call(client)


def in_asyncio(url, call, **options):
    async def run():
        async with AsyncClient(url, **{"model": "demo", **options}) as client:
            return await call(client)

    return asyncio.run(run())


@pytest.fixture(params=[in_blocking, in_asyncio])
def ask(request):
    """Makes a client, calls it and closes it."""
    return request.param


def recommend(client):
    return client.recommend({"user_id": "42"})


# What is asked and answered


def test_recommendations_are_typed(ask, server):
    found = ask(server.url, recommend)
    assert (found.model, found.version) == ("demo", 17)
    (one,) = found.results
    assert one == Recommendation("50", "Star Wars (1977)", float(np.float32(0.7181143)))


def test_a_score_is_the_float32_that_was_sent(ask, server):
    scores = np.random.default_rng(3).normal(size=100).astype(np.float32)
    found = [{**FOUND, "score": float(str(score))} for score in scores]
    server.last = answer({**ANSWER, "recommendations": found})
    results = ask(server.url, recommend).results
    assert [one.score for one in results] == scores.tolist()


def test_what_is_asked_for_is_sent(ask, server):
    def call(client):
        return client.recommend(
            {"user_id": "a", "age": 7, "embedding": (0.5, 1), "history": iter("ab")},
            3, {"x"}, "kind = film", exact=True, leaves_to_search=4, reorder=5,
        )  # fmt: skip

    ask(server.url + "/", call)
    (asked,) = server.asked
    assert asked.command == "POST"
    assert asked.path == "/v1/models/demo:recommend"
    assert asked.headers["content-type"] == "application/json"
    assert "authorization" not in asked.headers
    features = {"embedding": [0.5, 1], "history": ["a", "b"]}
    assert asked.content == {
        "query": {"user_id": "a", "age": 7, **features},
        "k": 3, "exclude": ["x"], "filter": "kind = film", "exact": True,
        "leaves_to_search": 4, "reorder": 5,
    }  # fmt: skip


def test_numpy_and_bytes_are_sent_as_json_has_them(ask, server):
    server.last = answer({"outputs": [[float("-inf")]]})
    columns = {"a": np.arange(4).reshape(2, 2), "b": [np.float32(0.5), b"\xff"]}
    found = ask(server.url, lambda c: c.predict(inputs=columns, signature_name="s"))
    assert found == [[float("-inf")]]
    assert server.asked[0].content == {
        "signature_name": "s",
        "inputs": {"a": [[0, 1], [2, 3]], "b": [0.5, {"b64": "/w=="}]},
    }


def test_rows_are_answered_by_predictions(ask, server):
    server.last = answer({"predictions": [1, 2]})
    assert ask(server.url, lambda c: c.predict(instances=["a", "b"])) == [1, 2]
    assert server.asked[0].content["instances"] == ["a", "b"]


def test_one_id_may_be_excluded_as_it_is(ask, server):
    ask(server.url, lambda c: c.recommend({"user_id": "1"}, exclude="50"))
    assert server.asked[0].content["exclude"] == ["50"]


@pytest.mark.parametrize(
    ("where", "path"),
    [
        ({}, ""),
        ({"version": 5}, "/versions/5"),
        ({"version": 0}, "/versions/0"),
        ({"label": "a/b é"}, "/labels/a%2Fb%20%C3%A9"),
    ],
)
def test_versions_and_labels_are_part_of_the_path(ask, server, where, path):
    model = "/v1/models/de%20mo%2F%25" + path
    for call, reply, end in (
        (lambda c: c.recommend({}, **where), ANSWER, ":recommend"),
        (lambda c: c.predict(inputs=1, **where), {"outputs": 1}, ":predict"),
        (lambda c: c.status(**where), {"model_version_status": []}, ""),
        (
            lambda c: c.queries("4&", 3, **where),
            {"feature": None, "ids": []},
            "/queries?prefix=4%26&limit=3",
        ),
    ):
        server.last = answer(reply)
        ask(server.url, call, model="de mo/%")
        assert server.asked[-1].path == model + end


def test_what_is_known_of_a_model_is_typed(ask, server):
    state = {"error_code": "UNKNOWN", "error_message": "damaged"}
    status = {"version": "17", "state": "END", "status": state}
    signatures = {"serving_default": {"inputs": {}}}
    server.script = [
        answer({"model_version_status": [status]}),
        answer(
            {
                "model_spec": {"name": "demo", "version": "17"},
                "metadata": {"signature_def": {"signature_def": signatures}},
            }
        ),
        answer({"feature": "user_id", "ids": ["4", "42"]}),
        answer(READY),
    ]
    assert ask(server.url, lambda c: c.status()) == (
        VersionStatus(17, "END", "damaged"),
    )
    assert ask(server.url, lambda c: c.metadata()) == Metadata("demo", 17, signatures)
    known = ask(server.url, lambda c: c.queries("4"))
    assert known == KnownQueries("user_id", ("4", "42"))
    assert ask(server.url, lambda c: c.models()) == {"demo": {17: "AVAILABLE"}}
    assert {one.command for one in server.asked} == {"GET"}


def test_the_token_is_shown_with_every_request(ask, server):
    ask(server.url, recommend, token="secret")
    assert server.asked[0].headers["authorization"] == "Bearer secret"


def test_both_clients_do_the_same_and_say_what():
    names = [name for name in vars(Client) if not name.startswith("_")]
    assert set(names) - set(vars(AsyncClient)) == set()
    assert {"recommend", "predict", "status", "metadata", "queries"} <= set(names)
    for name in names:
        both = [getattr(kind, name) for kind in (Client, AsyncClient)]
        assert both[0].__doc__ == both[1].__doc__ and both[0].__doc__
        assert inspect.signature(both[0]) == inspect.signature(both[1])
        assert [inspect.iscoroutinefunction(one) for one in both] == [False, True]


# Which model


def test_the_only_model_needs_no_name(server):
    server.script = [answer(READY)]
    with Client(server.url) as client:
        for _ in range(2):
            assert recommend(client).model == "demo"
    assert [one.path for one in server.asked] == [
        "/readyz",
        *2 * ["/v1/models/demo:recommend"],
    ]


@pytest.mark.parametrize(
    ("models", "sentence"),
    [
        ({}, "{url} serves no model; give it one"),
        ({"b": {}, "a": {}}, "{url} serves the models a, b; name the one to ask"),
    ],
)
def test_one_of_several_models_has_to_be_named(ask, server, models, sentence):
    server.last = answer({**READY, "models": models}, 503)
    with pytest.raises(UserError) as error:
        ask(server.url, recommend, model=None)
    assert str(error.value) == sentence.format(url=server.url)


# Connections


def test_connections_are_kept(server):
    with Client(server.url, model="demo") as client:
        for _ in range(5):
            recommend(client)
    assert (len(server.asked), server.connections) == (5, 1)


def test_threads_share_a_client(server):
    def echo(handler):
        (title,) = handler.content["exclude"]
        answer({**ANSWER, "recommendations": [{**FOUND, "title": title}]})(handler)

    server.last = echo
    titles = [str(number) for number in range(200)]
    with (
        Client(server.url, model="demo") as client,
        concurrent.futures.ThreadPoolExecutor(8) as threads,
    ):
        found = list(threads.map(lambda one: client.recommend({}, exclude=one), titles))
    assert [one.results[0].title for one in found] == titles
    assert server.connections <= 8


def test_tasks_share_a_client(server):
    def call(client):
        return asyncio.gather(*(recommend(client) for _ in range(50)))

    found = in_asyncio(server.url, call)
    assert len(found) == 50 == len(server.asked)


# What is tried again


@pytest.fixture
def waits(monkeypatch):
    """Notes how long clients wait between attempts, and lets them."""
    noted = []
    blocking, in_loop = time.sleep, asyncio.sleep

    def sleep(seconds):
        noted.append(seconds)
        blocking(seconds)

    async def sleep_in_loop(seconds):
        noted.append(seconds)
        await in_loop(seconds)

    monkeypatch.setattr("serving.client.clients.time.sleep", sleep)
    monkeypatch.setattr("serving.client.clients.asyncio.sleep", sleep_in_loop)
    return noted


@pytest.mark.parametrize(
    "failure",
    [reset, hang_up, stop_halfway, refuse(429), refuse(503), answer(b"busy", 503)],
)
def test_what_may_pass_is_tried_again(ask, server, waits, failure):
    server.script = [failure, failure]
    assert ask(server.url, recommend).version == 17
    assert len(server.asked) == 3
    assert all(one.content["query"] == {"user_id": "42"} for one in server.asked)
    assert len(waits) == 2
    assert 0 <= waits[0] <= 0.1 and 0 <= waits[1] <= 0.2


def test_who_asks_to_be_left_alone_for_a_while_is(ask, server, waits):
    server.script = [refuse(429, Retry_After="1")]
    assert ask(server.url, recommend).version == 17
    (wait,) = waits
    assert 1 <= wait <= 1.1


@pytest.mark.parametrize("told", ["", "-1", "Wed, 21 Oct 2026 07:28:00 GMT", "²"])
def test_another_retry_after_counts_as_none(ask, server, waits, told):
    server.script = [refuse(503, Retry_After=told.encode("utf-8").decode("latin-1"))]
    assert ask(server.url, recommend).version == 17
    (wait,) = waits
    assert wait <= 0.1


def test_nobody_waits_past_the_time_for_the_call(ask, server, waits):
    server.last = refuse(503, "come back later", Retry_After="3600")
    with pytest.raises(ServerError) as error:
        ask(server.url, recommend)
    assert (error.value.status, error.value.retry_after_s) == (503, 3600)
    assert str(error.value) == "come back later"
    assert (len(server.asked), waits) == (1, [])


@pytest.mark.parametrize("retries", [0, 2])
def test_attempts_are_numbered(ask, server, waits, retries):
    server.last = refuse(429, "512 requests wait already; try again later")
    with pytest.raises(ServerError, match="^512 requests wait already") as error:
        ask(server.url, recommend, retries=retries)
    assert error.value.status == 429
    assert len(server.asked) == retries + 1 == len(waits) + 1


@pytest.mark.parametrize("status", [400, 401, 404, 413, 500, 501, 504, 302])
def test_what_cannot_pass_is_not_tried_again(ask, server, waits, status):
    server.last = refuse(status, "no")
    with pytest.raises(ServerError, match="^no$") as error:
        ask(server.url, recommend)
    assert error.value.status == status
    assert (len(server.asked), waits) == (1, [])


def test_waits_are_random_and_grow_to_a_bound(server, waits, monkeypatch):
    monkeypatch.setattr("serving.client.attempts._FIRST_BACKOFF_S", 0.001)
    monkeypatch.setattr("serving.client.attempts._MOST_BACKOFF_S", 0.008)
    server.last = refuse(503)
    for _ in range(20):
        with pytest.raises(ServerError):
            in_blocking(server.url, recommend, retries=6)
    by_attempt = np.reshape(waits, (20, 6)) * 1e3
    assert (by_attempt <= [1, 2, 4, 8, 8, 8]).all()
    assert (by_attempt.max(axis=0) > [0.5, 1, 2, 4, 4, 4]).all()
    assert (by_attempt.min(axis=0) < [0.5, 1, 2, 4, 4, 4]).all()


def test_a_server_that_starts_late_is_found(ask, silent, monkeypatch):
    begin = functools.cache(silent.listen)
    blocking, in_loop = time.sleep, asyncio.sleep

    def sleep(seconds):
        begin()
        blocking(seconds)

    async def sleep_in_loop(seconds):
        begin()
        await in_loop(seconds)

    monkeypatch.setattr("serving.client.clients.time.sleep", sleep)
    monkeypatch.setattr("serving.client.clients.asyncio.sleep", sleep_in_loop)
    assert ask(silent.url, recommend).version == 17
    assert len(silent.asked) == 1


# Nobody answers


def test_who_is_not_there_is_named_with_the_mend(ask, silent, waits):
    with pytest.raises(Unreachable) as error:
        ask(silent.url, recommend)
    assert error.value.status is None
    assert str(error.value).startswith(f"{silent.url} can't be reached (")
    assert "start 'shortlist serve' there or name another URL" in str(error.value)
    assert len(waits) == 3


@pytest.mark.parametrize("slowness", [never, trickle])
def test_an_answer_that_does_not_come_in_time_is_not_waited_for(
    ask, server, waits, slowness
):
    server.last = slowness
    started = time.monotonic()
    with pytest.raises(Unreachable, match="has not answered within 0.5 s; see whether"):
        ask(server.url, recommend, timeout_s=0.5)
    assert time.monotonic() - started >= 0.5
    assert (len(server.asked), waits) == (1, [])


def test_the_time_is_for_all_attempts_together(ask, server):
    server.script = [refuse(503), refuse(503), never]
    with pytest.raises(Unreachable, match="has not answered within 1.5 s"):
        ask(server.url, recommend, timeout_s=1.5)
    assert len(server.asked) == 3


@pytest.mark.parametrize("failure", [hang_up, stop_halfway])
def test_a_connection_that_breaks_again_and_again_is_told(ask, server, failure):
    server.last = failure
    with pytest.raises(Unreachable, match="gave no whole answer .*; try again, or see"):
        ask(server.url, recommend, retries=1)
    assert len(server.asked) == 2


def test_readiness_is_a_yes_or_no(ask, server, silent):
    def is_ready(client):
        return client.is_ready()

    server.script = [answer(READY), answer({**READY, "ready": False}, 503)]
    assert ask(server.url, is_ready) is True
    assert ask(server.url, is_ready) is False
    assert ask(silent.url, is_ready) is False
    server.script = [refuse(404, "no such page")]
    with pytest.raises(ServerError, match="no such page"):
        ask(server.url, is_ready)


# Somebody else answers


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (answer(b"<html>Bad Gateway</html>", 502), 502),
        (answer({"detail": "Not Found"}, 404), 404),
        (answer([], 404), 404),
        (answer(b"<html>Welcome</html>"), 200),
        (answer(b"\xff"), 200),
        (answer([]), 200),
        (answer({}), 200),
        (answer({**ANSWER, "version": "new"}), 200),
        (answer({**ANSWER, "recommendations": [{**FOUND, "score": None}]}), 200),
    ],
)
def test_an_answer_of_somebody_else_is_told(ask, server, reply, status):
    server.last = reply
    with pytest.raises(ServerError, match="as 'shortlist serve' does; check") as error:
        ask(server.url, recommend)
    assert error.value.status == status
    assert server.url in str(error.value)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """PEM files of a certificate of 127.0.0.1 that has signed itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder(name, name, key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "certificate").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder / "certificate", folder / "key"


def test_a_server_is_trusted_by_its_authority(ask, silent, certificate, waits):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    silent.socket = context.wrap_socket(silent.socket, server_side=True)
    silent.scheme = "https"
    silent.listen()
    found = ask(silent.url, recommend, ca_file=str(certificate[0]))
    assert found.version == 17
    with pytest.raises(ServerError, match="can't be trusted .*name the file") as error:
        ask(silent.url, recommend)
    assert not isinstance(error.value, Unreachable)
    with pytest.raises(ServerError, match="can't be trusted"):
        ask(silent.url, lambda client: client.is_ready())
    assert waits == []


# Wrong use


@pytest.mark.parametrize(
    "url",
    [
        "", "localhost:8501", "127.0.0.1", "ftp://a", "http://", "http://a:b",
        "http://user:word@a", "http://a?b=c", "http://a#b",
    ],
)  # fmt: skip
def test_another_url_is_refused(url):
    with pytest.raises(UserError, match="URL must be like http://127.0.0.1:8501"):
        Client(url)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"timeout_s": 0}, "timeout_s must be above 0"),
        ({"timeout_s": float("nan")}, "timeout_s must be above 0"),
        ({"retries": -1}, "retries at least 0"),
        ({"token": "two words"}, "the token must be one word of ASCII"),
        ({"token": "clé"}, "the token must be one word of ASCII"),
        ({"token": ""}, "the token must be one word of ASCII"),
        ({"ca_file": "none.pem"}, "none.pem can't be read as the certificate"),
        ({"ca_file": __file__}, "can't be read as the certificate of an authority"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options, sentence):
    with pytest.raises(UserError, match=sentence):
        Client("http://127.0.0.1:8501", **options)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda c: c.predict(), "predict takes either inputs or instances"),
        (lambda c: c.predict(inputs=1, instances=[1]), "either inputs or instances"),
        (lambda c: c.status(version=1, label="a"), "version 1 or label 'a', not both"),
    ],
)
def test_calls_that_cannot_be_meant_are_refused(ask, silent, call, sentence):
    with pytest.raises(UserError, match=sentence):
        ask(silent.url, call)


def test_what_is_no_json_is_refused(ask, silent):
    with pytest.raises(TypeError, match=r"can't be sent: it is neither text"):
        ask(silent.url, lambda c: c.recommend({"user_id": object()}))


def test_errors_go_from_process_to_process():
    for error in (ServerError(429, "no", 1.0), Unreachable(None, "nobody")):
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error) and str(copy) == str(error)
        assert vars(copy) == vars(error)


def test_the_client_imports_nothing_heavy(run_python):
    code = "import sys, serving.client; print(*sys.modules)"
    done = run_python("-c", code)
    loaded = set(done.stdout.split())
    assert "serving.client" in loaded, done.stderr
    heavy = {"tensorflow", "numpy", "scann", "pydantic", "grpc", "starlette", "pyarrow"}
    assert loaded & heavy == set()


# The command line


def test_the_command_line_loads_nothing_to_ask_a_server(server, run_python):
    server.script = [answer(READY)]
    code = (
        "import sys\n"
        "from pipeline.cli import main\n"
        "code = main(sys.argv[1:])\n"
        "print('loaded:', *sys.modules)\n"
        "sys.exit(code)\n"
    )
    asked = ["recommend", "--server", server.url, "--query", "user_id=42"]
    done = run_python("-c", code, *asked)
    line, loaded = done.stdout.splitlines()
    assert line == "  1    0.7181  50           Star Wars (1977)"
    assert (done.returncode, done.stderr) == (0, "")
    heavy = {"tensorflow", "numpy", "scann", "pydantic", "yaml", "pyarrow"}
    assert heavy & set(loaded.split()) == set()


@pytest.mark.parametrize(
    "options",
    [
        ["--server", "http://a", "--root", "b"],
        ["--server", "http://a", "--model", "b"],
    ],
)
def test_a_server_or_a_folder_is_asked(options, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["recommend", "--query", "a=1", *options])
    assert stopped.value.code == 2
    assert "not allowed with argument" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--name", "a"], "--name is for --server; name its URL"),
        (["--token-file", "a"], "--token-file is for --server; name its URL"),
        (["--ca-file", "a"], "--ca-file is for --server; name its URL"),
        (
            ["--server", "http://a", "--pipeline", "b"],
            "--pipeline is for --root; a server's model is --name",
        ),
        (
            ["--server", ""],
            "the server's URL must be like http://127.0.0.1:8501, got ''",
        ),
    ],
)
def test_options_that_would_be_ignored_are_refused(options, sentence, capsys):
    assert main(["recommend", "--query", "a=1", *options]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"shortlist recommend: {sentence}\n"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "can't be read"),
        (b"", "is empty; write a token into it"),
        (b" \n", "is empty; write a token into it"),
        (b"\xff", "can't be read"),
        ("clé".encode(), "must be one word of ASCII"),
        (b"two words", "must be one word of ASCII"),
    ],
)
def test_a_file_without_a_token_is_refused(content, sentence, tmp_path):
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=sentence) as error:
        read_token(str(file))
    assert str(file) in str(error.value)


def test_a_token_is_read_without_the_end_of_its_line(tmp_path):
    (tmp_path / "token").write_text("secret-1\n")
    assert read_token(str(tmp_path / "token")) == "secret-1"
