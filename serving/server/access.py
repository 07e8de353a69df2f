# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Who may use the server: whoever bears the token, if there is one."""

import hmac

from serving.server.failure import Code, Failure
from serving.tokens import read_token

_SCHEME = "bearer"


class Access:
    """Checks the Authorization header of requests, by whatever protocol."""

    def __init__(self, token: str | None):
        """Takes the token; None lets everybody in."""
        self._token = token.encode() if token else None

    @classmethod
    def read(cls, path: str) -> "Access":
        """Reads the token from a file; "" lets everybody in.

        Raises:
          UserError: The file can't be read or holds no token.
        """
        return cls(read_token(path) if path else None)

    @property
    def is_open(self) -> bool:
        """Whether everybody may use it."""
        return self._token is None

    def check(self, authorization: str | None) -> None:
        """Refuses who does not bear the token.

        Args:
          authorization: The header, None if there is none.

        Raises:
          Failure: It is not the token.
        """
        if self._token is None:
            return
        scheme, _, given = (authorization or "").partition(" ")
        is_right = hmac.compare_digest(given.strip().encode(), self._token)
        if scheme.lower() != _SCHEME or not is_right:
            raise Failure(
                Code.UNAUTHENTICATED,
                "the token is missing or wrong; send 'Authorization: Bearer TOKEN'",
            )
