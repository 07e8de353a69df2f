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
    monkeypatch.setattr(debian, "here", lambda libc=None: None if libc else OLD)


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


def test_where_a_newer_c_library_would_not_do_it_is_skipped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install, "cpu_flags", list)
    assert debian.main(["false"]) == 0
    said = capsys.readouterr().err
    assert said.startswith("Skipped: ")
    assert "lacks avx, avx2, fma" in said


def test_without_the_right_to_mount_it_is_said(tmp_path: Path) -> None:
    for tool in debian.TOOLS:
        (tmp_path / tool).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / tool).chmod(0o755)
    assert debian.obstacle(0, str(tmp_path)) == (
        "making a Debian 13 for it takes the right to mount"
    )


def test_a_debian_that_can_not_be_made_is_told(
    old: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for tool in debian.TOOLS:
        is_it = tool == "debootstrap"
        (tmp_path / tool).write_text("#!/bin/sh\n" + "echo no; exit 7\n" * is_it)
        (tmp_path / tool).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{debian.PATH}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert debian.main(["false"]) == 1
    *_, printed, sentence = capsys.readouterr().err.splitlines()
    assert printed == "    no"
    assert "failed with exit code 7" in sentence


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
        (
            "Types: deb\nURIs: http://a.example/debian\nSuites: x\n"
            "Components: contrib main\n",
            "http://a.example",
        ),
        ("deb [arch=amd64] https://b.example/debian/ x main\n", "https://b.example"),
        (
            "# deb http://c.example/debian x main\ndeb http://d.example/apt x main\n",
            None,
        ),
        ("deb https://e.example/linux/debian x stable\n", None),
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
    (own,) = (root / "var/lib/shortlist").iterdir()
    assert (own / ".venv").is_dir()
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
