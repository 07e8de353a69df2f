# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What a process prints once it is set up."""

import subprocess
import sys

import pytest

import serving.process

_LOG = """
import logging, sys
import serving.process
serving.process.set_up(verbose=sys.argv[1] == "verbose")
if sys.argv[2] == "handler":
    logging.basicConfig()
logging.getLogger("trainer.fit").info("three epochs")
logging.getLogger("absl").info("chatter")
"""


def printed(*arguments: str) -> list[str]:
    """Standard error of a fresh process that logs a line of ours and one of absl's."""
    ended = subprocess.run(
        [sys.executable, "-c", _LOG, *arguments],
        env=serving.process.child_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return ended.stderr.splitlines()


def test_our_lines_are_printed_plainly_and_nothing_else():
    assert printed("quiet", "none") == ["           three epochs"]


@pytest.mark.parametrize("root", ["none", "handler"])
def test_verbose_shows_every_line_once(root):
    assert printed("verbose", root) == [
        "INFO:trainer.fit:three epochs",
        "INFO:absl:chatter",
    ]


def test_what_an_import_prints_is_shown_only_when_it_fails(capsys):
    with serving.process.quiet_imports():
        print("addons", file=sys.stderr)
    assert capsys.readouterr().err == ""
    for error in (ImportError, SystemExit):
        with pytest.raises(error), serving.process.quiet_imports():
            print("addons", file=sys.stderr)
            raise error
        assert capsys.readouterr().err == "addons\n"
    with serving.process.quiet_imports(verbose=True):
        print("addons", file=sys.stderr)
    assert capsys.readouterr().err == "addons\n"
