# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What a server refuses, and how it starts, is protected and ends.

One server has narrow limits, TLS and a token. What takes long is the first call of a
signature that only SavedModels answer: they are loaded then, three of them where the
version is in shards.
"""

import concurrent.futures
import contextlib
import email
import http.client
import json
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import httpx
import pytest
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
)

from serving.process import child_environment
from tests.serving.asking import (
    HOST,
    PATIENCE_S,
    PROGRAM,
    Server,
    free_ports,
    serving,
    until,
)
from tests.serving.certificates import make_certificate
from tests.serving.versions import push

TOKEN = "s3cret-token"
MAX_BYTES, MAX_K, MAX_ROWS, MAX_EXCLUDED = 20_000, 40, 6, 5
MAX_RESULTS = 100
MAX_WAIT_MS, MAX_CONCURRENT = 250, 3
DEADLINE_MS = 500
TIMEOUT_S = 60


@pytest.fixture(scope="module")
def guarded(
    build: Callable[[str], Any],
    sharded_version: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    """A server with narrow limits, TLS and a token."""
    folder = tmp_path_factory.mktemp("guarded")
    models = ""
    for name, version in (("plain", build("exact").path), ("slow", sharded_version)):
        (folder / name).mkdir()
        push(version, folder / name, 1)
        models += f'config {{ name: "{name}" base_path: "{folder / name}" }}\n'
    (folder / "models.config").write_text(f"model_config_list {{ {models} }}")
    (folder / "token").write_text(f"{TOKEN}\n")
    shown, key = make_certificate(folder)
    options = {
        "model-config-file": folder / "models.config", "token-file": folder / "token",
        "tls-certificate": shown, "tls-key": key, "max-request-bytes": MAX_BYTES,
        "max-k": MAX_K, "max-rows": MAX_ROWS, "max-excluded": MAX_EXCLUDED,
        "max-results": MAX_RESULTS, "max-wait-ms": MAX_WAIT_MS,
        "max-concurrent": MAX_CONCURRENT,
        "deadline-ms": DEADLINE_MS, "threads": 1,
    }  # fmt: skip
    arguments = [
        part for name, value in options.items() for part in (f"--{name}", value)
    ]
    with serving(
        folder / "log", *map(str, arguments),
        certificate=shown.read_bytes(), token=TOKEN,
    ) as server:  # fmt: skip
        yield server.wait_until_ready()


def predict(server: Server, inputs: dict[str, Any], **body: Any) -> httpx.Response:
    return server.post("/v1/models/plain:predict", {"inputs": inputs, **body})


def recommend(server: Server, **body: Any) -> httpx.Response:
    return server.post(
        "/v1/models/plain:recommend", {"query": {"user_id": "1"}, **body}
    )


def told(reply: httpx.Response) -> tuple[int, str]:
    return reply.status_code, reply.json()["error"]


# Sizes


def test_a_body_that_is_too_large_is_refused(guarded):
    text = (
        f"a request's body may have {MAX_BYTES} bytes; start the server with a larger "
        "--max-request-bytes"
    )
    padding = " " * (MAX_BYTES + 1)
    path = "/v1/models/plain:predict"
    assert told(guarded.post(path, padding.encode())) == (413, text)

    def parts() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 1000

    assert told(guarded.http.post(path, content=parts())) == (413, text)  # no length
    exactly = b'{"inputs": {"user_id": ["1"]}}'.ljust(MAX_BYTES)
    assert guarded.post(path, exactly).status_code == 200


def test_a_message_that_is_too_large_is_refused(guarded):
    asked = predict_pb2.PredictRequest()
    asked.model_spec.name = "plain"
    asked.inputs["user_id"].string_val.append(b"1" * (MAX_BYTES + 1))
    with pytest.raises(grpc.RpcError) as caught:
        guarded.prediction.Predict(asked, TIMEOUT_S, metadata=bearer(TOKEN))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_k_has_its_bounds(guarded):
    larger = "; start the server with a larger --max-k"
    for k, more in ((0, ""), (-1, ""), (MAX_K + 1, larger)):
        expected = 400, f"k must be from 1 to {MAX_K}, got {k}{more}"
        assert told(recommend(guarded, k=k)) == expected
        assert told(predict(guarded, {"user_id": ["1"], "k": k})) == expected
    assert len(recommend(guarded, k=MAX_K).json()["recommendations"]) == MAX_K


def test_rows_have_their_bound(guarded):
    rows = [str(one) for one in range(MAX_ROWS + 1)]
    assert told(predict(guarded, {"user_id": rows})) == (
        400,
        f"a request may have {MAX_ROWS} rows, got {MAX_ROWS + 1}; send several, or "
        "start the server with a larger --max-rows",
    )
    assert predict(guarded, {"user_id": rows[1:]}).status_code == 200


def test_results_have_their_bound(guarded):
    rows = ["1", "2", "3"]
    assert told(predict(guarded, {"user_id": rows, "k": MAX_K})) == (
        400,
        f"a request may have {MAX_RESULTS} results, got 3 rows of {MAX_K}; send "
        "several, or start the server with a larger --max-results",
    )
    assert predict(guarded, {"user_id": rows, "k": 33}).status_code == 200


def test_exclusions_have_their_bound(guarded):
    ids = [f"m{one}" for one in range(MAX_EXCLUDED + 1)]
    expected = 400, f"exclude may have {MAX_EXCLUDED} ids, got {MAX_EXCLUDED + 1}"
    assert told(recommend(guarded, exclude=ids)) == expected
    assert told(predict(guarded, {"user_id": ["1"], "exclude": [ids]})) == expected
    assert recommend(guarded, exclude=ids[1:]).status_code == 200


# Time and numbers


def ask_slowly(server: Server, model: str = "slow") -> httpx.Response:
    body = {"signature_name": "embed_candidate", "inputs": ["m1"]}
    return server.post(f"/v1/models/{model}:predict", body)


def test_who_has_waited_too_long_is_refused(guarded):
    with concurrent.futures.ThreadPoolExecutor(MAX_CONCURRENT) as pool:
        # One is answered, which takes long, while the others wait. Which is which is
        # the server's affair.
        asked = [pool.submit(ask_slowly, guarded) for _ in range(MAX_CONCURRENT)]
        replies = [one.result() for one in asked]
    replies.sort(key=lambda one: one.status_code)
    assert [one.status_code for one in replies] == [200, 429, 429]
    for one in replies[1:]:
        assert told(one) == (
            429,
            "more is asked than can be answered: the request has waited "
            f"{MAX_WAIT_MS} ms in vain; try again later",
        )
        assert one.headers["retry-after"] == "1"
    assert ask_slowly(guarded).status_code == 200


TOO_MANY = (
    503, f"{MAX_CONCURRENT} requests are under way already; try again later",
)  # fmt: skip


def test_too_many_at_the_same_time_are_refused(guarded):
    def refusal() -> httpx.Response | None:
        with full(guarded):
            reply = guarded.get("/v1/models/plain")
            assert guarded.get("/healthz").status_code == 200
        return None if reply.status_code == 200 else reply

    # On a busy machine the first of them may be over before the last one is there.
    reply = until("a refusal", refusal)
    assert told(reply) == TOO_MANY
    assert reply.headers["retry-after"] == "1"
    assert reply.headers["content-type"] == "application/json"
    # Counted where they are refused before anything is done for them.
    assert guarded.metric("shortlist_refused_requests_total") >= 1
    until("room", lambda: guarded.get("/v1/models/plain").status_code == 200)


def test_a_connection_goes_on_after_refusals(guarded):
    """Two requests at once, then one whose body comes after the answer."""
    asked = get_status()

    def refusals() -> bool:
        with connect(guarded) as connection:
            with full(guarded):
                connection.sendall(asked * 2)
                found = [read_reply(connection) for _ in range(2)]
            with full(guarded):
                connection.sendall(post_head(2))
                found.append(read_reply(connection))
            if found != [TOO_MANY] * 3:
                return False  # there was room, and another answer
            connection.sendall(b"{}")
            until("room", lambda: guarded.get("/v1/models/plain").status_code == 200)
            connection.sendall(asked)
            assert read_reply(connection)[0] == 200
        return True

    until("refusals", refusals)


def test_a_refusal_ends_a_connection_that_is_to_be_closed(guarded):
    asked = get_status("connection: close\r\n")

    def refusal() -> bool:
        with full(guarded), connect(guarded) as connection:
            connection.sendall(asked)
            reply = http.client.HTTPResponse(connection)
            reply.begin()
            assert reply.getheader("connection") == "close"
            found = reply.status, json.loads(reply.read()).get("error")
            assert connection.recv(1) == b""
        return found == TOO_MANY

    until("a refusal", refusal)


@contextlib.contextmanager
def full(server: Server) -> Iterator[None]:
    """Holds all places of a server, for as long as it waits for bodies."""
    with contextlib.ExitStack() as held:
        for _ in range(MAX_CONCURRENT):
            held.enter_context(unfinished(server))
        yield


def read_reply(connection: ssl.SSLSocket) -> tuple[int, str | None]:
    """Reads one answer: its status, and the error that it tells."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += read(connection, 1)
    reply = email.message_from_bytes(head.partition(b"\r\n")[2])
    content = read(connection, int(reply["content-length"]))
    return int(head.split()[1]), json.loads(content).get("error")


def read(connection: ssl.SSLSocket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        part = connection.recv(count - len(found))
        assert part, "the connection was closed"
        found += part
    return found


def get_status(headers: str = "") -> bytes:
    return (
        f"GET /v1/models/plain HTTP/1.1\r\nhost: {HOST}\r\n"
        f"authorization: Bearer {TOKEN}\r\n{headers}\r\n"
    ).encode()


def post_head(length: int) -> bytes:
    return (
        f"POST /v1/models/plain:predict HTTP/1.1\r\nhost: {HOST}\r\n"
        f"authorization: Bearer {TOKEN}\r\ncontent-length: {length}\r\n\r\n"
    ).encode()


def connect(server: Server) -> ssl.SSLSocket:
    context = ssl.create_default_context(cadata=server.certificate.decode())
    port = int(server.url.rpartition(":")[2])
    plain = socket.create_connection((HOST, port), PATIENCE_S)
    return context.wrap_socket(plain, server_hostname="localhost")


def unfinished(server: Server) -> ssl.SSLSocket:
    """Sends a request whose body does not come."""
    connection = connect(server)
    connection.sendall(post_head(100) + b"{")
    return connection


def test_a_body_that_does_not_come_is_not_waited_for(guarded):
    connection = unfinished(guarded)
    reply = http.client.HTTPResponse(connection)
    reply.begin()
    assert reply.status == 504
    assert json.loads(reply.read()) == {
        "error": "the request's body did not arrive in time"
    }
    assert reply.getheader("connection") == "close"
    assert connection.recv(1) == b""  # and so it is
    connection.close()


# Who may ask


OPEN = ("/healthz", "/readyz")
CLOSED = (
    "/v1/models/plain", "/v1/models/plain/metadata", "/v1/models/plain/queries",
    "/v1/models/plain:recommend?user_id=1", "/v1/models/nope", "/v1/nonsense",
    "/openapi.json", "/monitoring/prometheus/metrics",
)  # fmt: skip


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN,
     f"Bearer {TOKEN}x", "Bearer é".encode("latin-1")],
)  # fmt: skip
def test_without_the_token_only_health_is_told(header, guarded):
    headers = {} if header is None else {"authorization": header}
    context = ssl.create_default_context(cadata=guarded.certificate.decode())
    with httpx.Client(base_url=guarded.url, verify=context, headers=headers) as client:
        for path in OPEN:
            assert client.get(path).status_code == 200
        for path in CLOSED:
            reply = client.get(path)
            assert told(reply) == (
                401,
                "the token is missing or wrong; send 'Authorization: Bearer TOKEN'",
            )
            assert reply.headers["www-authenticate"] == "Bearer"
        assert client.post("/v1/models/plain:predict", json={}).status_code == 401


def test_with_the_token_all_is_told(guarded):
    for path in (*OPEN, *CLOSED[:4], *CLOSED[-2:]):
        assert guarded.get(path).status_code == 200
    headers = {"authorization": f"bearer {TOKEN}"}  # schemes have no case
    assert guarded.get("/v1/models/plain", headers=headers).status_code == 200


def bearer(token: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")]


def messages() -> list[tuple[str, Any]]:
    predict_ = predict_pb2.PredictRequest()
    metadata = get_model_metadata_pb2.GetModelMetadataRequest(
        metadata_field=["signature_def"]
    )
    status = get_model_status_pb2.GetModelStatusRequest()
    for one in (predict_, metadata, status):
        one.model_spec.name = "plain"
    predict_.model_spec.signature_name = "embed_query"
    user = predict_.inputs["user_id"]
    user.dtype = 7
    user.tensor_shape.dim.add().size = 1
    user.string_val.append(b"1")
    return [("Predict", predict_), ("GetModelMetadata", metadata),
            ("GetModelStatus", status)]  # fmt: skip


def test_by_grpc_nothing_is_told_without_the_token(guarded):
    stubs = (guarded.prediction, guarded.models)
    reload = ("HandleReloadConfigRequest", model_management_pb2.ReloadConfigRequest())
    for name, asked in [*messages(), reload]:
        (method,) = (getattr(one, name) for one in stubs if hasattr(one, name))
        for metadata in (None, bearer("wrong"), [("authorization", TOKEN)]):
            with pytest.raises(grpc.RpcError) as caught:
                method(asked, TIMEOUT_S, metadata=metadata)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    for name, asked in messages():
        (method,) = (getattr(one, name) for one in stubs if hasattr(one, name))
        method(asked, TIMEOUT_S, metadata=bearer(TOKEN))
    assert guarded.get("/v1/models/plain").status_code == 200


def test_nothing_is_told_in_plain_text(guarded):
    with pytest.raises(httpx.TransportError):
        httpx.get(guarded.url.replace("https", "http") + "/healthz")
    with pytest.raises(httpx.ConnectError, match="certificate"):
        httpx.get(guarded.url + "/healthz")  # who has signed it is not known
    with grpc.insecure_channel(guarded.grpc_address) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        _, asked = messages()[2]
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetModelStatus(asked, TIMEOUT_S, metadata=bearer(TOKEN))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


# How it starts and ends


@pytest.fixture(scope="module")
def run_serve() -> Callable[..., subprocess.CompletedProcess]:
    """Runs `shortlist serve` until it ends by itself."""

    def run(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-c", PROGRAM, "serve", *arguments],
            env=child_environment(), capture_output=True, text=True, timeout=PATIENCE_S,
        )  # fmt: skip

    return run


def test_a_port_that_is_taken_is_one_sentence(run_serve, tmp_path):
    (port,) = free_ports(1)
    with socket.socket() as taken:
        taken.bind((HOST, port))
        taken.listen()
        done = run_serve(
            "--model-base-path", str(tmp_path), "--rest-port", str(port),
            "--grpc-port", "0",
        )  # fmt: skip
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == (
        f"shortlist serve: can't listen at {HOST} port {port}: it is in use or not of "
        "this machine; name another --rest-port or --host\n"
    )


def test_a_server_waits_for_a_version_and_ends_when_all_is_answered(
    sharded_version, tmp_path
):
    base = tmp_path / "model"
    base.mkdir()
    arguments = ("--model-base-path", str(base), "--name", "m", "--poll-s", "0.1")
    patient = ("--deadline-ms", "60000", "--max-wait-ms", "60000")
    server = Server(tmp_path / "log", *arguments, *patient)
    try:
        server.wait_until_ready(503)
        assert server.get("/healthz").status_code == 200
        assert server.get("/readyz").json() == {
            "ready": False, "draining": False, "models": {"m": {}},
        }  # fmt: skip
        assert told(server.get("/v1/models/m")) == (
            404, "Could not find any versions of model m",
        )  # fmt: skip
        assert f"m: there is no version to serve in {base} yet" in server.said
        push(sharded_version, base, 1)
        server.wait_until_ready()
        drain(server)
    finally:
        server.process.kill()
        server.process.wait()


def drain(server: Server) -> None:
    """Ends a server while it answers by REST and by gRPC."""
    asked = predict_pb2.PredictRequest()
    asked.model_spec.name = "m"
    asked.model_spec.signature_name = "embed_candidate"
    movie = asked.inputs["movie_id"]
    movie.dtype = 7
    movie.tensor_shape.dim.add().size = 1
    movie.string_val.append(b"m1")
    idle = httpx.Client(base_url=server.url)
    idle.get("/healthz")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        by_rest = pool.submit(ask_slowly, server, "m")
        by_grpc = server.prediction.Predict.future(asked, TIMEOUT_S)
        # One of them is being answered when the other one waits.
        until("both", lambda: server.metric("shortlist_waiting_requests") == 1)
        server.process.send_signal(signal.SIGTERM)
        assert by_rest.result().status_code == 200
        assert by_rest.result().headers["connection"] == "close"
        assert len(by_rest.result().json()["outputs"][0]) == 9
        assert by_grpc.result().outputs["embedding"].float_val
    assert server.process.wait(PATIENCE_S) == 0, server.said
    assert "stopping: what is under way has 10 s to end" in server.said
    with pytest.raises(httpx.TransportError):
        idle.get("/healthz")
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/healthz")
    idle.close()
    server.close()
