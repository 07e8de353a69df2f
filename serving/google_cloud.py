# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What Google Cloud's clients raise, in a sentence."""

import contextlib
from collections.abc import Iterator

import google.auth.exceptions
from google.api_core import exceptions

from serving.errors import UserError


@contextlib.contextmanager
def refusal_told(refusal: str) -> Iterator[None]:
    """Tells in a sentence what Google Cloud has against a request.

    Args:
      refusal: Who refuses what, to which the reason is added.

    Raises:
      UserError: In place of what the client raised.
    """
    try:
        yield
    except google.auth.exceptions.GoogleAuthError:
        raise UserError(
            "no credentials for Google Cloud: run 'gcloud auth application-default "
            "login', or name a key in GOOGLE_APPLICATION_CREDENTIALS"
        ) from None
    except exceptions.GoogleAPICallError as error:
        raise UserError(f"{refusal}: {error.message}") from None
    except exceptions.RetryError:
        raise UserError(f"{refusal}: no answer in time; check the network") from None
