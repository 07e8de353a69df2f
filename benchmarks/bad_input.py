# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Makes every mistake that the tests know of and shows what is told, as a table.

Each is really made: a config is loaded as `shortlist run` loads it, files are read by
the executors of the pipeline's own nodes.
"""

import serving.process  # first of all: it sets TensorFlow up

serving.process.set_up()

import argparse  # noqa: E402
import logging  # noqa: E402
import pathlib  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from collections.abc import Callable, Sequence  # noqa: E402

from serving.errors import UserError  # noqa: E402
from tests import bad_configs, bad_files  # noqa: E402
from tests.bad_input import BadInput, without_folder  # noqa: E402

RESULTS = pathlib.Path(__file__).parent / "results" / "bad_input.md"


def told(case: BadInput, provoke: Callable[[BadInput, pathlib.Path], None]) -> str:
    """Makes a mistake in a folder of its own; returns what is told.

    Raises:
        Exception: It is not told but shown as a traceback.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        try:
            provoke(case, folder)
        except UserError as error:
            return without_folder(str(error), folder)
    return "nothing"


def table(title: str, rows: Sequence[tuple[str, str]]) -> str:
    """Returns a Markdown table of what is wrong and what is told."""
    lines = [
        f"## {title}: {len(rows)}",
        "",
        "| what is wrong | what is told |",
        "|-|-|",
    ]
    for row in rows:
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
    return "\n".join([*lines, ""])


def main() -> int:
    """Makes all mistakes; 1 if one was not told as the tests say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default=RESULTS, metavar="FILE")
    out = parser.parse_args().out
    logging.disable(logging.CRITICAL)  # Beam logs what it hands on as an error, too.
    parts = []
    count = wrong = 0
    for title, module in (("Configs", bad_configs), ("Files", bad_files)):
        rows = [(case.wrong, told(case, module.provoke)) for case in module.CASES]
        parts.append(table(title, rows))
        count += len(rows)
        wrong += sum(
            message != case.message
            for (_, message), case in zip(rows, module.CASES, strict=True)
        )
    head = (
        f"# Bad input: {count} mistakes, each told in one sentence\n\n"
        "By `python -m benchmarks.bad_input`. `shortlist run` prints them after its "
        "name; it ends with 2 for a\nconfig and what it names, with 1 for what is in "
        "the files. None has a traceback.\n"
    )
    text = "\n".join([head, *parts])
    out.write_text(text, encoding="utf-8")
    print(text)
    print(f"{count} mistakes, {wrong} told in other words than the tests expect")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
