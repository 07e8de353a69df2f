# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of what runs the newest stack on older machines, but for the Debian itself."""

import os
import subprocess
from pathlib import Path

import pytest

from requirements import debian, install

OLD = "The wheels of the stack current need glibc 2.39 or newer and this is old."


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "here", lambda: OLD)


def test_a_machine_that_is_new_enough_runs_it_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(debian, "here", lambda: None)
    made = tmp_path / "made"
    assert debian.main(["sh", "-c", f"pwd > {made}; exit 3"]) == 3
    assert made.read_text().strip() == install.ROOT


def test_without_root_it_is_skipped_and_said(
    old: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert debian.main(["false"]) == 0
    said = capsys.readouterr().err
    assert said == f"Skipped: {OLD[:-1]}; making a Debian 13 for it takes root.\n"


def test_missing_tools_are_named(tmp_path: Path) -> None:
    for tool in ("unshare", "chroot", "mount"):
        (tmp_path / tool).write_text("#!/bin/sh\n")
        (tmp_path / tool).chmod(0o755)
    assert debian.obstacle(0, str(tmp_path)) == (
        "making a Debian 13 for it takes debootstrap"
    )


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("Types: deb\nURIs: http://a.example/debian\nSuites: x\n", "http://a.example"),
        ("deb [arch=amd64] https://b.example/debian/ x main\n", "https://b.example"),
        ("# deb http://c.example/debian x\ndeb http://d.example/apt x\n", None),
        ("", None),
    ],
)
def test_packages_come_from_where_the_machine_has_its_own(
    text: str, where: str | None
) -> None:
    wanted = [f"{where}/debian"] if where else []
    assert debian.mirror(["", text]) == wanted


def test_what_enters_is_a_script_that_shells_take(tmp_path: Path) -> None:
    """Paths and words may have blanks and quotes in them."""
    checkout, root = tmp_path / "it's here", tmp_path / "the root"
    checkout.mkdir()
    text = debian.script(str(root), str(checkout), ["make", "it's one word"])
    subprocess.run(["sh", "-n", "-c", text], check=True)
    assert (root / "var/lib/shortlist/.venv").is_dir()
    assert (checkout / ".tools").is_dir()
    last = text.splitlines()[-1]
    shown = last.replace("exec chroot", "printf '%s\\n'").replace(" /bin/sh -c", "")
    said = subprocess.check_output(["sh", "-c", shown], text=True).splitlines()
    assert said[0] == str(root)
    inside = said[1].replace("exec make", "printf '%s\\n'")
    assert subprocess.check_output(["sh", "-c", inside], text=True) == (
        "it's one word\n"
    )


def test_the_environment_leads_to_nothing_of_this_machine() -> None:
    given = {"PYTHONPATH": "/x", "VIRTUAL_ENV": "/y", "SSL_CERT_DIR": "/etc/ssl/certs"}
    kept = debian.environment({**given, "PATH": "/opt/x", "MAKEFLAGS": "w"})
    assert kept["SSL_CERT_DIR"] == "/etc/ssl/certs"
    assert not {"PYTHONPATH", "VIRTUAL_ENV", "MAKEFLAGS"} & kept.keys()
    assert kept["PATH"] == debian.PATH
