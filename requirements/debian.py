# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Runs a command where the stack `current` can run, in a Debian 13 if need be.

    python3 requirements/debian.py make test STACK=current

A machine whose C library is new enough runs the command itself. For others a Debian 13
is made once, by debootstrap in a cache folder, and the command runs in it, in the same
checkout but with an environment of its own. That takes root; without it nothing is run,
and why is said. It needs the standard library only and works on any Python from 3.7 on.
"""

import fcntl
import glob
import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from typing import List, Mapping, Optional, Sequence

try:
    from requirements import install
except ImportError:  # run as a file
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from requirements import install

RELEASE = "trixie"
PACKAGES = (
    "ca-certificates", "chromium", "chromium-driver", "dbus-x11", "g++", "gcc", "git",
    "libc6-dev", "make", "procps", "python3", "python3-dev", "python3-venv",
)  # fmt: skip
"""What `make test` needs beside what it installs itself.

Chromium wants a "dbus-session-bus": debootstrap can't tell that it is dbus-x11.
"""
TOOLS = ("debootstrap", "unshare", "chroot", "mount")
OWN = (".venv", ".tools")
"""Folders of the checkout that hold binaries: the Debian has others in their place."""
SETTINGS = (
    "/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs", "/etc/pip.conf", "/etc/uv",
    "~/.config/pip", "~/.config/uv",
)  # fmt: skip
"""How this machine reaches the network and packages."""
PYTHONS = ("~/.pyenv/versions", "~/.local/share/uv/python")
"""Where one for the other stack may be, whose server is tested beside this one's."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def here(libc: Optional[str] = None) -> Optional[str]:
    """Tells in one sentence why this machine can't run the stack, None if it can.

    Args:
      libc: The C library; None: the machine's own.
    """
    uname = platform.uname()
    return install.machine_problem(
        install.CURRENT,
        uname.system,
        uname.machine,
        install.libc_version() if libc is None else libc,
        install.cpu_flags(),
    )


def obstacle(user_id: int, path: str) -> Optional[str]:
    """Tells why no Debian can be made and entered here, None if it can.

    Args:
      user_id: Who asks.
      path: Where programs are, as in PATH.
    """
    if user_id:
        return "making a Debian 13 for it takes root"
    missing = [tool for tool in TOOLS if not shutil.which(tool, path=path)]
    if missing:
        return f"making a Debian 13 for it takes {', '.join(missing)}"
    private = [shutil.which("unshare", path=path) or "", "--mount", "true"]
    if subprocess.run(private, stderr=subprocess.DEVNULL).returncode:
        return "making a Debian 13 for it takes the right to mount"
    return None


def mirror(sources: Sequence[str]) -> List[str]:
    """Returns where this machine gets Debian's packages; nothing: debootstrap knows.

    Args:
      sources: Texts of apt's files.
    """
    for text in sources:
        # Other packages for Debian are in folders of that name too.
        if not re.search(r"^(?:Components:|deb\s).*\bmain\b", text, re.M):
            continue
        found = re.search(r"^(?:URIs:|deb\b.*?) *(https?://\S+/debian)/?\s", text, re.M)
        if found:
            return [found.group(1)]
    return []


def make_root(folder: str) -> str:
    """Makes the Debian if it is not there, whole or not at all; returns its folder."""
    digest = hashlib.sha256(" ".join((RELEASE, *PACKAGES)).encode()).hexdigest()
    root = os.path.join(folder, f"debian-13-{digest[:8]}")
    os.makedirs(folder, exist_ok=True)
    with open(f"{root}.lock", "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.path.isdir(root):
            return root
        install.tell(f"Making a Debian 13 in {root}: some minutes, 2 GB")
        partial = f"{root}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        named = glob.glob("/etc/apt/sources.list.d/*")
        apt = [one for one in sorted(named) if one.endswith((".list", ".sources"))]
        texts = [_read(path) for path in ["/etc/apt/sources.list", *apt]]
        include = f"--include={','.join(PACKAGES)}"
        variant = "--variant=minbase"
        install.run(
            ["debootstrap", variant, include, RELEASE, partial, *mirror(texts)],
            {**os.environ, "PATH": _wide_path()},
        )
        os.rename(partial, root)
    return root


def _wide_path() -> str:
    return f"{os.environ.get('PATH', '')}:{PATH}"


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""


def script(root: str, checkout: str, command: Sequence[str]) -> str:
    """Returns the shell script that enters a Debian, to be run with its own mounts.

    Args:
      root: The Debian's folder.
      checkout: That of the project, which has the same path there.
      command: Run in the checkout.
    """
    lines = ["set -e"]

    def mount(source: str, target: str) -> None:
        made = shlex.quote(f"{root}{target}")
        if os.path.isdir(source):
            lines.append(f"mkdir -p {made}")
        else:
            folder = shlex.quote(os.path.dirname(f"{root}{target}"))
            lines.append(f"mkdir -p {folder}; rm -f {made}; touch {made}")
        lines.append(f"mount --rbind {shlex.quote(source)} {made}")

    for source in ("/proc", "/dev", "/sys", checkout):
        mount(source, source)
    # Each checkout has its own: others may be at work.
    own = hashlib.sha256(checkout.encode()).hexdigest()[:8]
    for name in OWN:
        place = f"{root}/var/lib/shortlist/{own}/{name}"
        for folder in (f"{checkout}/{name}", place):
            os.makedirs(folder, exist_ok=True)
        mount(place, f"{checkout}/{name}")
    for shown in (*SETTINGS, *PYTHONS):
        source = os.path.expanduser(shown)
        if os.path.exists(source):
            mount(os.path.realpath(source), shown.replace("~", "/root"))
    inside = f"cd {shlex.quote(checkout)} && exec {_quoted(command)}"
    lines.append(f"exec chroot {shlex.quote(root)} /bin/sh -c {shlex.quote(inside)}")
    return "\n".join(lines)


def _quoted(command: Sequence[str]) -> str:
    return " ".join(map(shlex.quote, command))


def environment(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Returns the environment of a command in the Debian."""
    kept = {k: v for k, v in environ.items() if not k.startswith(("PYENV", "MAKE"))}
    for name in (*install.FOREIGN_VARIABLES, "TMPDIR", "MFLAGS"):
        kept.pop(name, None)
    return {**kept, "HOME": "/root", "PATH": PATH, "DEBIAN_FRONTEND": "noninteractive"}


def main(command: List[str]) -> int:
    """Runs a command here, or in a Debian 13; returns its exit code."""
    problem = here()
    if not problem:
        return subprocess.run(command, cwd=install.ROOT).returncode
    if here("glibc 99.0"):  # a newer C library alone won't do
        install.tell(f"Skipped: {problem}")
        return 0
    hindered = obstacle(os.geteuid(), _wide_path())
    if hindered:
        install.tell(f"Skipped: {problem.rstrip('.')}; {hindered}.")
        return 0
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    roots: List[str] = []
    folder = os.path.join(cache, "shortlist")
    code = install.carried_out(lambda: roots.append(make_root(folder)))
    if code:
        return code
    (root,) = roots
    entering = script(root, install.ROOT, command)
    # The mounts are seen by that process only, and gone with it.
    unshare = ["unshare", "--mount", "--propagation", "private", "sh", "-c", entering]
    return subprocess.run(unshare, env=environment(os.environ)).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
