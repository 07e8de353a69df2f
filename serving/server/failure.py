# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What a request is refused with: a code that gRPC and HTTP share, and a sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from serving.errors import UserError

Code = grpc.StatusCode

HTTP_STATUS = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}
"""As TensorFlow Serving maps them."""


class Failure(Exception):
    """A refused request."""

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        retry_after_s: int | None = None,
        http_status: int | None = None,
    ):
        """Says what is wrong.

        Args:
          code: As gRPC has them.
          message: One sentence.
          retry_after_s: When to come back, if that may help.
          http_status: Where HTTP has a better one than the code's.
        """
        super().__init__(message)
        self.code, self.message = code, message
        self.retry_after_s, self.http_status = retry_after_s, http_status


def invalid(message: str) -> Failure:
    """Returns the failure of a request that can't be understood or carried out."""
    return Failure(Code.INVALID_ARGUMENT, message)


@contextmanager
def user_errors() -> Iterator[None]:
    """Turns what the library says of bad input into a failure."""
    try:
        yield
    except UserError as error:
        raise invalid(str(error)) from None
