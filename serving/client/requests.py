# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What can be asked of a server; these functions are the methods of the clients."""

import array
import base64
import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

from serving.client.answers import (
    KnownQueries,
    Metadata,
    Recommendation,
    Recommendations,
    VersionStatus,
)
from serving.errors import UserError

T = TypeVar("T")
_OK = 200


@dataclasses.dataclass(frozen=True)
class Request(Generic[T]):
    """What is asked, and how the answer is read."""

    path: str
    read: Callable[[Any], T]
    """Turns the JSON of an answer into what the caller gets."""
    body: bytes | None = None
    """JSON to be sent by POST; None: GET."""
    is_of_model: bool = True
    """Whether the path goes on after the model's name."""
    answers: frozenset[int] = frozenset({_OK})
    """Statuses that are no failures."""


def recommend(
    query: Mapping[str, str | float | Iterable[str | float]],
    k: int = 10,
    exclude: Iterable[str] = (),
    filter: str = "",
    *,
    exact: bool = False,
    version: int | None = None,
    label: str | None = None,
    leaves_to_search: int = 0,
    reorder: int = 0,
) -> Request[Recommendations]:
    """Asks for the best candidates for a query.

    Args:
      query: Its features by name: a text, a number or several; what is left out is
        missing.
      k: Most results.
      exclude: Candidate ids to leave out.
      filter: Only candidates whose attributes are so, e.g. `genres = Drama`.
      exact: Search exhaustively.
      version: Of the model; by default its newest.
      label: That stands for a version.
      leaves_to_search: Of ScaNN's partitions; 0: as the index was built.
      reorder: Hits that ScaNN rescores; 0: as the index was built.

    Raises:
      ServerError: The server has refused it, or has not answered (`Unreachable`).
    """
    body = {
        "query": dict(query),
        "k": k,
        "exclude": [exclude] if isinstance(exclude, str) else list(exclude),
        "filter": filter,
        "exact": exact,
        "leaves_to_search": leaves_to_search,
        "reorder": reorder,
    }
    path = f"{_target(version, label)}:recommend"
    return Request(path, _read_recommendations, _as_json(body))


def predict(
    *,
    inputs: Any = None,
    instances: Sequence[Any] | None = None,
    signature_name: str = "serving_default",
    version: int | None = None,
    label: str | None = None,
) -> Request[Any]:
    """Calls a signature, as TensorFlow Serving does.

    Args:
      inputs: Columns, of several inputs a mapping; NumPy's arrays and bytes may be
        among them.
      instances: Rows, instead of columns.
      signature_name: What is called.
      version: Of the model; by default its newest.
      label: That stands for a version.

    Returns:
      `outputs` for columns and `predictions` for rows, as JSON has them.

    Raises:
      ServerError: See `recommend`.
      UserError: Neither or both of columns and rows are given.
    """
    if (inputs is None) == (instances is None):
        raise UserError("predict takes either inputs or instances")
    given, answer = (
        ({"inputs": inputs}, "outputs")
        if instances is None
        else ({"instances": instances}, "predictions")
    )
    body = {"signature_name": signature_name, **given}
    path = f"{_target(version, label)}:predict"
    return Request(path, lambda reply: reply[answer], _as_json(body))


def status(
    *, version: int | None = None, label: str | None = None
) -> Request[tuple[VersionStatus, ...]]:
    """Asks how the versions of the model are, or the one that is named.

    Args:
      version: Of the model; by default all.
      label: That stands for a version.

    Raises:
      ServerError: See `recommend`.
    """
    return Request(_target(version, label), _read_status)


def metadata(
    *, version: int | None = None, label: str | None = None
) -> Request[Metadata]:
    """Asks for the signatures of a version.

    Args:
      version: Of the model; by default its newest.
      label: That stands for a version.

    Raises:
      ServerError: See `recommend`.
    """
    return Request(f"{_target(version, label)}/metadata", _read_metadata)


def queries(
    prefix: str = "",
    limit: int = 20,
    *,
    version: int | None = None,
    label: str | None = None,
) -> Request[KnownQueries]:
    """Asks for query ids that training knew, to choose from.

    Args:
      prefix: What they begin with.
      limit: Most ids.
      version: Of the model; by default its newest.
      label: That stands for a version.

    Raises:
      ServerError: See `recommend`.
    """
    given = urlencode({"prefix": prefix, "limit": limit})
    return Request(
        f"{_target(version, label)}/queries?{given}",
        lambda reply: KnownQueries(reply["feature"], tuple(reply["ids"])),
    )


def models() -> Request[dict[str, dict[int, str]]]:
    """Asks which models are served.

    Returns:
      Of each model, by name, the state of its versions, or why one can't be loaded.

    Raises:
      ServerError: See `recommend`.
    """
    return _of_server(
        lambda reply: {
            name: {int(number): state for number, state in versions.items()}
            for name, versions in reply["models"].items()
        }
    )


def readiness() -> Request[bool]:
    """Asks whether every model has a version that answers."""
    return _of_server(lambda reply: bool(reply["ready"]))


def _of_server(read: Callable[[Any], T]) -> Request[T]:
    """Asks about the server as a whole, which answers 503 while it is not ready."""
    answers = frozenset({_OK, 503})
    return Request("/readyz", read, is_of_model=False, answers=answers)


def _target(version: int | None, label: str | None) -> str:
    """Returns what tells a version after the path of its model."""
    if version is not None and label is not None:
        raise UserError(f"name version {version} or label '{label}', not both")
    if label is not None:
        return f"/labels/{quote(label, safe='')}"
    return "" if version is None else f"/versions/{version}"


def _read_recommendations(reply: Any) -> Recommendations:
    return Recommendations(
        reply["model"],
        int(reply["version"]),
        tuple(
            Recommendation(one["candidate_id"], one["title"], _float32(one["score"]))
            for one in reply["recommendations"]
        ),
    )


def _float32(value: float) -> float:
    """Returns the float32 that a number in JSON, with the fewest digits, stands for."""
    return array.array("f", [value])[0]


def _read_status(reply: Any) -> tuple[VersionStatus, ...]:
    return tuple(
        VersionStatus(int(one["version"]), one["state"], one["status"]["error_message"])
        for one in reply["model_version_status"]
    )


def _read_metadata(reply: Any) -> Metadata:
    spec = reply["model_spec"]
    signatures = reply["metadata"]["signature_def"]["signature_def"]
    return Metadata(spec["name"], int(spec["version"]), signatures)


def _as_json(content: Any) -> bytes:
    return json.dumps(content, default=_plain).encode()


def _plain(value: Any) -> Any:
    """Returns as JSON has it what json can't write by itself."""
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    if hasattr(value, "tolist"):  # arrays and numbers of NumPy
        return value.tolist()
    if isinstance(value, Iterable):
        return list(value)
    raise TypeError(f"{value!r} can't be sent: it is neither text, number nor list")
