# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""REST: TensorFlow Serving's API, the humane one beside it, health and metrics."""

import asyncio
import json
import logging
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote

from google.protobuf import json_format, message
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from tensorflow_serving.apis import get_model_metadata_pb2

from serving import stacks
from serving.server import json_tensors, openapi, pages
from serving.server.access import Access
from serving.server.calls import make_call
from serving.server.failure import HTTP_STATUS, Code, Failure, invalid
from serving.server.service import Recommendation, Service, Target

_log = logging.getLogger(__name__)

_TARGET = r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?"
_POST = re.compile(_TARGET + r":(predict|classify|regress|recommend)", re.IGNORECASE)
_GET = re.compile(
    _TARGET + r"(?::(recommend)|/(metadata|queries|history))?", re.IGNORECASE
)
_ALL_MODELS = re.compile(r"/v1/models", re.IGNORECASE)
_OPEN = frozenset({"/", "/healthz", "/readyz"})
"""Paths that need no token: a page without data, and health, for who has none."""
_MOST_VERSION = 2**63 - 1
_MOST_DIGITS = 19
"""Of a version; Python takes its time for numbers of thousands."""
_MOST_PARAMETERS = 1000
_JSON = (b"content-type", b"application/json")
_Headers = list[tuple[bytes, bytes]]


class Rest:
    """The ASGI application.

    Requests for models are told apart by TensorFlow Serving's own patterns, at once;
    all else is left to Starlette's routes.
    """

    def __init__(
        self, service: Service, access: Access, is_draining: Callable[[], bool]
    ):
        """Takes the service, who may use it, and what tells that it will stop."""
        self._service, self._access = service, access
        self._is_draining = is_draining
        self._others = Starlette(
            routes=[
                Route("/healthz", self._health),
                Route("/readyz", self._readiness),
                Route("/openapi.json", self._openapi),
                Route("/monitoring/prometheus/metrics", self._metrics),
                *pages.routes(),
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, see ASGI."""
        if scope["type"] != "http":
            await self._others(scope, receive, send)
            return
        path = scope["path"]
        if path[:4].lower() == "/v1/":
            await self._answer(scope, receive, send)
            return
        try:
            if path not in _OPEN:
                self._access.check(_header(scope, b"authorization"))
        except Failure as failure:
            await _send(send, *_refusal(failure))
            return
        await self._others(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request for a model."""
        started = time.perf_counter()
        name, api, code = "", "", Code.OK
        try:
            self._access.check(_header(scope, b"authorization"))
            target, api = _parse_path(scope)
            name = target.name
            has_body = scope["method"] == "POST"
            body = await self._body(scope, receive) if has_body else b""
            content = await self._dispatch(scope, target, api, body)
            status, headers = 200, _Headers()
        except Failure as failure:
            code = failure.code
            status, headers, content = _refusal(failure)
        except _Disconnected:
            return
        # Who has asked gets an answer, and who watches over the server the trace.
        except Exception as error:  # noqa: BLE001
            _log.error("a request failed", exc_info=error)
            code = Code.INTERNAL
            status, headers, content = _refusal(Failure(code, repr(error)))
        if self._is_draining():
            headers.append((b"connection", b"close"))  # the next one would find none
        await _send(send, status, headers, content)
        if self._service.models.find(name):
            # Names that nobody serves would make series without end.
            tell = self._service.metrics.request(name, api, "REST")
            tell(time.perf_counter() - started, code)

    async def _dispatch(
        self, scope: Scope, target: Target, api: str, body: bytes
    ) -> bytes:
        if api == "predict":
            return await self._predict(target, body)
        if api == "recommend":
            asked = (
                _asked_by_body(body)
                if scope["method"] == "POST"
                else _asked_by_parameters(_parameters(scope))
            )
            return await self._recommend(target, asked)
        if api == "queries":
            return await self._queries(target, _parameters(scope))
        if api == "history":
            return await self._history(target, _parameters(scope))
        if api == "metadata":
            return _metadata_json(self._service.metadata(target))
        if api == "status":
            return _as_json(self._service.status(target))
        raise Failure(
            Code.UNIMPLEMENTED, f"{api} is not supported by this model; use predict"
        )

    async def _predict(self, target: Target, body: bytes) -> bytes:
        deadline = self._service.deadline()
        with self._service.use(target) as (_, version):
            signature, given, is_row = json_tensors.read_predict(
                body, version.signatures
            )
            call = make_call(signature, given, version.limits)
            outputs = await version.answer(call, deadline)
            return json_tensors.write_predict(outputs, is_row)

    async def _recommend(self, target: Target, asked: Recommendation) -> bytes:
        number, found = await self._service.recommend(target, asked)
        return json_tensors.dumps(
            {"model": target.name, "version": str(number), "recommendations": found}
        )

    async def _queries(self, target: Target, parameters: dict[str, list[str]]) -> bytes:
        prefix, limit = _one(parameters, "prefix", ""), _number(parameters, "limit", 20)
        found = await self._service.known_queries(target, prefix, limit)
        return json_tensors.dumps(found)

    async def _history(self, target: Target, parameters: dict[str, list[str]]) -> bytes:
        limit = _number(parameters, "limit", 50)
        return json_tensors.dumps(
            await self._service.history(
                target, {name: _one(parameters, name, "") for name in list(parameters)},
                limit,
            )
        )  # fmt: skip

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """Reads the body of a request, within bounds of size and time."""
        most = self._service.options.max_request_bytes
        told = _header(scope, b"content-length")
        parts, size = [], int(told) if told and told.isdigit() else 0
        if size > most:
            raise _too_large(most)
        task, size, is_late = asyncio.current_task(), 0, False
        assert task is not None

        def give_up() -> None:
            nonlocal is_late
            is_late = True
            task.cancel()

        loop = asyncio.get_running_loop()
        timer = loop.call_at(self._service.deadline(), give_up)
        try:
            while True:
                part = await receive()
                if part["type"] == "http.disconnect":
                    raise _Disconnected
                parts.append(part.get("body", b""))
                size += len(parts[-1])
                if size > most:
                    raise _too_large(most)
                if not part.get("more_body"):
                    return parts[0] if len(parts) == 1 else b"".join(parts)
        except asyncio.CancelledError:
            if not is_late:
                raise  # somebody else has cancelled it
            raise _LateBody from None
        finally:
            timer.cancel()

    async def _health(self, request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def _readiness(self, request: Request) -> Response:
        """Tells whether requests may be sent here, and of each model why not."""
        models = {
            model.settings.name: {
                str(one.number): one.error or one.state.name
                for one in model.tracked.values()
            }
            for model in self._service.models
        }
        is_ready = self._service.models.are_ready and not self._is_draining()
        status = {"ready": is_ready, "draining": self._is_draining(), "models": models}
        return JSONResponse(status, 200 if is_ready else 503)

    async def _metrics(self, request: Request) -> Response:
        text = self._service.metrics.as_text()
        return Response(text, media_type="text/plain; version=0.0.4")

    async def _openapi(self, request: Request) -> Response:
        return JSONResponse(openapi.document(self._service))


class _Disconnected(Exception):
    """Nobody waits for the answer any more."""


class _LateBody(Failure):
    """A body that has not come in time; what is left of it is not waited for."""

    def __init__(self) -> None:
        super().__init__(
            Code.DEADLINE_EXCEEDED, "the request's body did not arrive in time"
        )


def _too_large(most: int) -> Failure:
    return Failure(
        Code.RESOURCE_EXHAUSTED,
        f"a request's body may have {most} bytes; start the server with a larger "
        "--max-request-bytes",
        http_status=413,
    )


def _parse_path(scope: Scope) -> tuple[Target, str]:
    """Tells which model, and what of it, a request is for.

    Raises:
      Failure: The path is none of TensorFlow Serving's, nor of ours.
    """
    method, path = scope["method"], scope["raw_path"].decode("latin-1")
    pattern = {"POST": _POST, "GET": _GET}.get(method)
    found = pattern.fullmatch(path) if pattern else None
    if found is None:
        if method == "GET" and _ALL_MODELS.fullmatch(path):
            raise invalid("Missing model name in request.")
        raise invalid(f"Malformed request: {method} {path}")
    name, version, label, *apis = found.groups()
    if version is not None and (
        len(version) > _MOST_DIGITS or int(version) > _MOST_VERSION
    ):
        raise invalid(f"Failed to convert version: {version} to numeric.")
    target = Target(
        unquote(name),
        None if version is None else int(version),
        None if label is None else unquote(label),
    )
    return target, next(filter(None, apis), "status").lower()


def _parameters(scope: Scope) -> dict[str, list[str]]:
    try:
        return parse_qs(
            scope["query_string"].decode("latin-1"),
            keep_blank_values=True,
            max_num_fields=_MOST_PARAMETERS,
        )
    except ValueError:
        raise invalid(
            f"a request may have {_MOST_PARAMETERS} parameters; send more as the body "
            "of a POST"
        ) from None


def _asked_by_parameters(parameters: dict[str, list[str]]) -> Recommendation:
    """Reads a recommendation that is asked for by GET."""
    asked = Recommendation(
        query={},
        k=_number(parameters, "k", 10),
        exclude=parameters.pop("exclude", []),
        filter=_one(parameters, "filter", ""),
        leaves_to_search=_number(parameters, "leaves_to_search", 0),
        reorder=_number(parameters, "reorder", 0),
        exact=_truth(parameters, "exact"),
    )
    query = {
        name: values[0] if len(values) == 1 else values
        for name, values in parameters.items()
    }
    return Recommendation(**{**vars(asked), "query": query})


def _one(parameters: dict[str, list[str]], name: str, default: str) -> str:
    """Takes away a parameter that may be given once."""
    values = parameters.pop(name, [default])
    if len(values) != 1:
        raise invalid(f"'{name}' may be given once, got {len(values)}")
    return values[0]


def _number(parameters: dict[str, list[str]], name: str, default: int) -> int:
    text = _one(parameters, name, str(default))
    return _int32(name, int(text) if re.fullmatch(r"-?\d{1,10}", text) else text)


def _int32(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**31:
        raise invalid(f"'{name}' must be a whole number of 32 bits, got {value!r}")
    return value


def _truth(parameters: dict[str, list[str]], name: str) -> bool:
    text = _one(parameters, name, "false").lower()
    if text not in ("true", "false"):
        raise invalid(f"'{name}' must be true or false, got {text!r}")
    return text == "true"


def _asked_by_body(body: bytes) -> Recommendation:
    """Reads a recommendation that is asked for by POST."""
    content = json_tensors.parse(body)
    known = Recommendation.__dataclass_fields__
    if not isinstance(content, dict) or not isinstance(content.get("query"), dict):
        raise invalid(
            "the body must be an object with a 'query', an object of features"
        )
    for name in content:
        if name not in known:
            raise invalid(f"unknown key '{name}'; known are {', '.join(known)}")
    return Recommendation(
        query={name: _feature(name, one) for name, one in content["query"].items()},
        k=_int32("k", content.get("k", 10)),
        exclude=_texts("exclude", content.get("exclude", [])),
        filter=_of_type("filter", content.get("filter", ""), str),
        leaves_to_search=_int32("leaves_to_search", content.get("leaves_to_search", 0)),
        reorder=_int32("reorder", content.get("reorder", 0)),
        exact=_of_type("exact", content.get("exact", False), bool),
    )


def _feature(name: str, value: Any) -> str | list[str]:
    """Returns a feature as text: a text or number, or a list of them."""
    if isinstance(value, list):
        return [_scalar(name, one) for one in value]
    return _scalar(name, value)


def _scalar(name: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise invalid(f"the feature '{name}' must be texts or numbers, got {value!r}")
    return value if isinstance(value, str) else repr(value)


def _texts(name: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise invalid(f"'{name}' must be a list of texts, got {value!r}")
    return value


def _of_type(name: str, value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise invalid(f"'{name}' must be of type {kind.__name__}, got {value!r}")
    return value


def _as_json(proto: message.Message, **options: Any) -> bytes:
    """Writes a message as TensorFlow Serving does, with the fields that are empty."""
    return json_format.MessageToJson(proto, **stacks.ALL_FIELDS, **options).encode()


def _metadata_json(proto: get_model_metadata_pb2.GetModelMetadataResponse) -> bytes:
    signatures = get_model_metadata_pb2.SignatureDefMap()
    proto.metadata["signature_def"].Unpack(signatures)
    spec, defined = (
        json.loads(_as_json(one, preserving_proto_field_name=True))
        for one in (proto.model_spec, signatures)
    )
    spec.setdefault("signature_name", "")
    return json_tensors.dumps(
        {"model_spec": spec, "metadata": {"signature_def": defined}}
    )


def _header(scope: Scope, name: bytes) -> str | None:
    for key, value in scope["headers"]:
        if key == name:
            return value.decode("latin-1")
    return None


def _refusal(failure: Failure) -> tuple[int, _Headers, bytes]:
    """Returns status, headers and body that tell of a failure."""
    headers = _Headers()
    if failure.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % failure.retry_after_s))
    if failure.code is Code.UNAUTHENTICATED:
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(failure, _LateBody):
        headers.append((b"connection", b"close"))
    text = " ".join(failure.message.split())
    status = failure.http_status or HTTP_STATUS[failure.code]
    return status, headers, json_tensors.dumps({"error": text})


async def _send(
    send: Send, status: int, headers: list[tuple[bytes, bytes]], content: bytes
) -> None:
    length = (b"content-length", b"%d" % len(content))
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [_JSON, length, *headers],
        }
    )
    await send({"type": "http.response.body", "body": content})
