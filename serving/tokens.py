# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The token that a server wants and its clients bear."""

import re

from serving.errors import UserError

_TOKEN = re.compile(r"[!-~]+")


def read_token(path: str) -> str:
    """Reads the token from a file.

    Raises:
      UserError: The file can't be read or holds no token.
    """
    try:
        with open(path, encoding="utf-8") as file:
            token = file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--token-file {path} can't be read ({error})") from None
    if not token:
        raise UserError(f"--token-file {path} is empty; write a token into it")
    check_token(token, f"the token in --token-file {path}")
    return token


def check_token(token: str, name: str = "the token") -> None:
    """Refuses what an HTTP header can't carry.

    Raises:
      UserError: There is more than visible ASCII characters in it, or nothing.
    """
    if not _TOKEN.fullmatch(token):
        raise UserError(
            f"{name} must be one word of ASCII letters, digits and punctuation"
        )
