# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Which files a pattern means: globs, and spans as TFX numbers them.

A pattern may hold `{SPAN}` (a number, `{SPAN:4}` with its width) or `{YYYY}`, `{MM}`
and `{DD}` (a date, whose span is its days since 1970), and `{VERSION}`. TFX takes the
latest span and version; a window takes the spans before it too.
"""

import dataclasses
import datetime
import re

import tensorflow as tf
from tfx.components.example_gen import utils
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2, range_config_pb2
from tfx.utils import io_utils

from serving.errors import UserError

_SPECIAL = re.compile(r"[*?\[{]")
# How TFX names a file whose span it can't read.
_ODD_FILE = re.compile(r" from (\S.*) based on |invalid for file: (.*)")


def split_pattern(pattern: str) -> tuple[str, str]:
    """Parts a pattern into TFX's input_base, a plain folder, and the rest."""
    parts = pattern.split("/")
    # The last part is a file, special or not.
    plain = next(
        (at for at, part in enumerate(parts) if _SPECIAL.search(part)), len(parts) - 1
    )
    plain = min(plain, len(parts) - 1)
    base = "/".join(parts[:plain])
    return base or ("/" if pattern.startswith("/") else "."), "/".join(parts[plain:])


def has_spans(pattern: str) -> bool:
    """Tells whether a pattern holds the number or the date of a span."""
    return "{SPAN" in pattern or "{YYYY}" in pattern


@dataclasses.dataclass(frozen=True)
class Selection:
    """The files of a run, and what their contents are known by."""

    files: tuple[str, ...]
    fingerprint: str
    """Of names, sizes and times of change."""
    spans: tuple[int, ...]
    """Oldest first; (0,) for a pattern without spans."""


def parse_span(text: str, pattern: str) -> int | None:
    """Reads a span as a user names it.

    Args:
        text: A number, or a date as 2026-11-25 where the pattern has dates; "" for
            the latest span.
        pattern: Of the files.

    Raises:
        UserError: It is neither, or the pattern has no spans.
    """
    if not text:
        return None
    if not has_spans(pattern):
        raise UserError(
            f"until is {text}, but {pattern} has no spans: take it out, or put {{SPAN}}"
            " or {YYYY}, {MM} and {DD} into the path"
        )
    try:
        if "{SPAN" in pattern:
            return int(text)
        return (datetime.date.fromisoformat(text) - datetime.date(1970, 1, 1)).days
    except ValueError:
        wanted = "a number" if "{SPAN" in pattern else "a date such as 2026-11-25"
        raise UserError(f"until is {text}: give {wanted}") from None


def select(
    base: str, pattern: str, last_spans: int, until: int | None = None
) -> Selection:
    """Finds the files of the latest spans.

    Args:
        base: A folder.
        pattern: Relative to it.
        last_spans: Length of the window that ends with the latest span, in spans; one
            that is not there, such as a day without a file, leaves a gap.
        until: The span that is taken for the latest one; None: the latest that is
            there.

    Raises:
        UserError: No file matches, or the pattern's spans can't be read.
    """
    whole = "/".join([base.rstrip("/"), pattern])
    latest = _resolve(base, pattern, until)
    if latest is None:
        raise UserError(f"no file matches {whole}: mend the path in the config")
    if not has_spans(pattern):
        last_spans = 1
    windows = [(latest[0], latest[1])]
    for span in range(latest[0] - 1, latest[0] - last_spans, -1):
        found = _resolve(base, pattern, span)
        windows += [found] if found else []
    windows.reverse()
    files = [sorted(fileio.glob("/".join([base, one]))) for _, one in windows]
    if not any(files):
        raise UserError(f"no file matches {whole}: mend the path in the config")
    fingerprints = [
        io_utils.generate_fingerprint(str(span), "/".join([base, one]))
        for span, one in windows
    ]
    return Selection(
        tuple(name for part in files for name in part),
        "\n".join(fingerprints),
        tuple(span for span, _ in windows),
    )


def _resolve(base: str, pattern: str, span: int | None) -> tuple[int, str] | None:
    """Returns a span, by default the latest, and the pattern of its files."""
    split = example_gen_pb2.Input.Split(name="all", pattern=pattern)
    window = range_config_pb2.RangeConfig()
    if span is None:
        window.rolling_range.num_spans = 1
    else:
        window.static_range.start_span_number = span
        window.static_range.end_span_number = span
    where = f"{base.rstrip('/')}/{pattern}"
    try:
        _, number, _ = utils.calculate_splits_fingerprint_span_and_version(
            base, [split], window if has_spans(pattern) else None
        )
    except ValueError as error:
        if "Cannot find matching" in str(error):
            return None
        found = _ODD_FILE.search(str(error))
        what = (
            f"the file {found[1] or found[2]} has no" if found else f"{error}: mend the"
        )
        raise UserError(
            f"the path {where}: {what} number or date where the path has a span"
        ) from None
    except tf.errors.OpError as error:
        raise UserError(
            f"can't look for {where} ({error.message.splitlines()[0]}): mend the path, "
            "or check network and credentials"
        ) from None
    return number, split.pattern
