# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What a run prints while it goes on: a line a node, with elapsed time."""

import sys
import time
from typing import TextIO


class Progress:
    """Prints one line for each node; on a terminal it shows the running one too."""

    def __init__(self, stream: TextIO | None = None):
        """Starts the clock.

        Args:
          stream: Where to print; standard error by default, so that standard output
            holds results only.
        """
        self._stream = stream or sys.stderr
        self._started = time.perf_counter()

    def start(self, node: str) -> None:
        """Says on a terminal that a node runs; its final line replaces this one."""
        self._node_started = time.perf_counter()
        if self._stream.isatty():
            self._stream.write(f"  ...     {node}\r")
            self._stream.flush()

    def end(self, node: str, state: str) -> float:
        """Prints the node's line.

        Args:
          node: Its id.
          state: done, cached or failed.

        Returns:
          Seconds that the node took.
        """
        now = time.perf_counter()
        seconds = now - self._node_started
        note = "" if state == "done" else f"  {state}"
        self._stream.write(
            f"{now - self._started:7.1f} s  {node:<32}{seconds:7.1f} s{note}\n"
        )
        self._stream.flush()
        return seconds

    def say(self, text: str) -> None:
        """Prints a line of its own."""
        self._stream.write(f"{text}\n")
        self._stream.flush()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._started
