# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""gRPC: TensorFlow Serving's PredictionService and ModelService, by its own messages.

Methods are added by name, and not by the generated servicers, whose requests can't be
read without a failure of the server where a client sends anything else.
"""

import asyncio
import functools
import operator
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf import message
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
)

from serving.server import proto_tensors
from serving.server.access import Access
from serving.server.calls import make_call
from serving.server.failure import Code, Failure, invalid, user_errors
from serving.server.model_config import settings_of
from serving.server.service import Service, Target
from serving.server.tensors import DEFAULT_SIGNATURE, Signature, Tensors
from serving.server.versions import Version

_SIGNATURE_DEF = "signature_def"

_Handler = Callable[[Any, Any, grpc.aio.ServicerContext], Awaitable[message.Message]]


def _handled(api: str) -> Callable[[_Handler], _Handler]:
    """Makes a method tell failures by gRPC's means, and count what it answers."""

    def wrap(method: _Handler) -> _Handler:
        @functools.wraps(method)
        async def handle(
            self: "_Servicer", request: Any, context: grpc.aio.ServicerContext
        ) -> message.Message:
            started, code = time.perf_counter(), Code.UNKNOWN
            self.begin(context)
            try:
                self.check_access(context)
                if request is None:
                    raise invalid("the request is no message of the method's type")
                response = await method(self, request, context)
                code = Code.OK
                return response
            except Failure as failure:
                code = failure.code
                await context.abort(code, failure.message)
                raise  # never reached: abort raises
            except asyncio.CancelledError:
                code = Code.CANCELLED
                raise
            finally:
                self.count(request, api, time.perf_counter() - started, code)

        return handle

    return wrap


class _Servicer:
    """What both services share."""

    def __init__(self, service: Service, access: Access):
        """Takes the service and who may use it."""
        self._service, self._access = service, access
        self.under_way = 0
        """Calls that have come and whose answer is not sent yet."""

    def begin(self, context: grpc.aio.ServicerContext) -> None:
        """Counts a call as under way until its answer is sent."""
        self.under_way += 1
        context.add_done_callback(self._end)

    def _end(self, _: grpc.aio.ServicerContext) -> None:
        self.under_way -= 1

    def check_access(self, context: grpc.aio.ServicerContext) -> None:
        """Refuses who does not bear the token."""
        if self._access.is_open:
            return
        metadata = dict(context.invocation_metadata() or ())
        self._access.check(metadata.get("authorization"))

    def count(self, request: Any, api: str, seconds: float, code: Code) -> None:
        """Counts a request for a model that is served."""
        name = request.model_spec.name if hasattr(request, "model_spec") else ""
        if self._service.models.find(name):
            self._service.metrics.request(name, api, "GRPC")(seconds, code)


class PredictionService(_Servicer):
    """Predict and GetModelMetadata."""

    @_handled("predict")
    async def Predict(  # noqa: N802  (the stub's name)
        self,
        request: predict_pb2.PredictRequest,
        context: grpc.aio.ServicerContext,
    ) -> predict_pb2.PredictResponse:
        """Answers a call of a signature."""
        deadline = self._service.deadline(context.time_remaining())
        target = _target(request)
        with self._service.use(target) as (number, version):
            signature = _signature(version, request.model_spec.signature_name)
            wanted = _wanted_outputs(signature, request.output_filter)
            given = _read_inputs(signature, request)
            call = make_call(signature, given, version.limits)
            is_alone = self.under_way == 1
            outputs = await version.answer(call, deadline, is_alone)
        response = predict_pb2.PredictResponse(
            model_spec=_answered_by(target.name, number, signature.name)
        )
        for name in wanted:
            proto_tensors.write(outputs[name], response.outputs[name])
        return response

    @_handled("metadata")
    async def GetModelMetadata(  # noqa: N802
        self,
        request: get_model_metadata_pb2.GetModelMetadataRequest,
        context: grpc.aio.ServicerContext,
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Tells the signatures of a version."""
        target = _target(request)
        if not request.metadata_field:
            raise invalid(
                "GetModelMetadataRequest must specify at least one metadata_field"
            )
        for field in request.metadata_field:
            if field != _SIGNATURE_DEF:
                raise invalid(f"Metadata field {field} is not supported")
        return self._service.metadata(target)


class ModelService(_Servicer):
    """GetModelStatus and HandleReloadConfigRequest."""

    @_handled("status")
    async def GetModelStatus(  # noqa: N802
        self,
        request: get_model_status_pb2.GetModelStatusRequest,
        context: grpc.aio.ServicerContext,
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Tells the states of a model's versions."""
        return self._service.status(_target(request))

    @_handled("reload")
    async def HandleReloadConfigRequest(  # noqa: N802
        self,
        request: model_management_pb2.ReloadConfigRequest,
        context: grpc.aio.ServicerContext,
    ) -> model_management_pb2.ReloadConfigResponse:
        """Serves other models or versions; answers when all of them are available."""
        with user_errors():
            settings = settings_of(request.config)
        # A client that does not wait for it has asked for it nevertheless.
        await asyncio.shield(self._service.models.configure(settings))
        response = model_management_pb2.ReloadConfigResponse()
        response.status.error_code = 0
        return response


def _target(request: Any) -> Target:
    """Returns which model a request is for.

    Raises:
      Failure: It names none.
    """
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    spec: model_pb2.ModelSpec = request.model_spec
    if not spec.name:
        raise invalid("ModelSpec has no name specified.")
    choice = spec.WhichOneof("version_choice")
    return Target(
        spec.name,
        spec.version.value if choice == "version" else None,
        spec.version_label if choice == "version_label" else None,
    )


@functools.lru_cache(256)
def _answered_by(name: str, number: int, signature_name: str) -> model_pb2.ModelSpec:
    """Returns what an answer says of who gives it, to be copied."""
    found = model_pb2.ModelSpec(name=name, signature_name=signature_name)
    found.version.value = number
    return found


def _signature(version: Version, name: str) -> Signature:
    """Returns a signature of a version, "" for the default one.

    Raises:
      Failure: There is none of that name, which TensorFlow Serving tells otherwise than
        by REST.
    """
    name = name or DEFAULT_SIGNATURE
    if name not in version.signatures.by_name:
        raise Failure(
            Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.'
        )
    return version.signatures.find(name)


def _read_inputs(signature: Signature, request: predict_pb2.PredictRequest) -> Tensors:
    """Reads the inputs of a request; unknown ones are told of by the signature."""
    # Protobuf's own map is slow to be asked.
    given = dict(request.inputs)
    signature.check_names(given)
    return {
        name: proto_tensors.read(name, proto, signature.inputs[name])
        for name, proto in given.items()
    }


def _wanted_outputs(signature: Signature, names: Any) -> list[str]:
    """Returns the outputs that a request wants, all if it does not say."""
    for at, name in enumerate(names):
        if name not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {name} Outputs expected "
                f"to be in the set {{{','.join(signature.outputs)}}}."
            )
        if name in names[:at]:
            raise invalid(f"duplicate output tensor alias: {name}")
    return list(names) or list(signature.outputs)


_METHODS: dict[str, dict[str, tuple[Any, type[_Servicer]]]] = {
    "tensorflow.serving.PredictionService": {
        "Predict": (predict_pb2.PredictRequest, PredictionService),
        "GetModelMetadata": (
            get_model_metadata_pb2.GetModelMetadataRequest, PredictionService
        ),
    },
    "tensorflow.serving.ModelService": {
        "GetModelStatus": (get_model_status_pb2.GetModelStatusRequest, ModelService),
        "HandleReloadConfigRequest": (
            model_management_pb2.ReloadConfigRequest, ModelService
        ),
    },
}  # fmt: skip
"""Requests by the full name of a service and a method."""


def add_services(server: grpc.aio.Server, service: Service, access: Access) -> None:
    """Adds both services to a server."""
    for name, methods in _METHODS.items():
        handlers = {
            method: grpc.unary_unary_rpc_method_handler(
                getattr(servicer(service, access), method),
                request_deserializer=_reader(kind),
                response_serializer=operator.methodcaller("SerializeToString"),
            )
            for method, (kind, servicer) in methods.items()
        }
        handler = grpc.method_handlers_generic_handler(name, handlers)
        server.add_generic_rpc_handlers((handler,))


def _reader(kind: type[message.Message]) -> Callable[[bytes], message.Message | None]:
    """Returns what reads a request, or returns None where it can't be read.

    Left to gRPC, such a request is a failure of the server.
    """

    def read(content: bytes) -> message.Message | None:
        try:
            return kind.FromString(content)
        except message.DecodeError:
            return None

    return read
