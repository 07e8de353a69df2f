# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Makes .venv: finds CPython 3.10 and uv, and installs a hashed lock with them.

The libraries of benchmarks/peers get an environment of their own, .tools/peers, and so
does what serves models without the pipeline, .tools/serving.

It runs before anything is installed, so it needs the standard library only and
works on any Python from 3.7 on:

    python3 requirements/install.py [stable|test|serving|peers|lock]
"""

import argparse
import contextlib
import fcntl
import glob
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from typing import Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PYTHON = "3.10"
# h5py's wheel asks for it and has no older build.
MIN_GLIBC = (2, 28)
# The first release that knows UV_SYSTEM_CERTS.
MIN_UV = (0, 11)
# The test lock holds every package of the stable one, in the same version.
SATISFIED_BY = {
    "stable": ("stable", "test"),
    "test": ("test",),
    "serving": ("serving",),
    "peers": ("peers",),
}
# Where a lock goes; the peers' NumPy is another one than TensorFlow's, and serving's
# environment is to show that nothing else is needed.
FOLDERS = {
    "stable": ".venv",
    "test": ".venv",
    "serving": os.path.join(".tools", "serving"),
    "peers": os.path.join(".tools", "peers"),
}
SIZES = {"serving": "1.3 GB", "peers": "0.2 GB"}
CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)
# Left set, these make a child look at another environment than ours.
FOREIGN_VARIABLES = ("CONDA_PREFIX", "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")
PROBE_TIMEOUT_S = 30
SHOWN_LINES = 20
PROBE = """
import json, os, sys, sysconfig
executable = sys.executable
if sys.prefix != sys.base_prefix:
    name = "python%d.%d" % sys.version_info[:2]
    executable = os.path.join(sys.base_prefix, "bin", name)
headers = os.path.join(sysconfig.get_path("platinclude"), "Python.h")
tools = [sysconfig.get_config_var(name) or "" for name in ("CC", "CXX")]
print(json.dumps({
    "executable": executable,
    "version": "%d.%d.%d" % sys.version_info[:3],
    "fits": sys.implementation.name == "cpython" and sys.maxsize > 2**32,
    "headers": os.path.exists(headers),
    "compilers": [tool.split()[0] for tool in tools if tool],
}))
"""


class SetupError(Exception):
    """What stands in the way of the installation, in one sentence with the mend."""


class CommandError(SetupError):
    """A child command failed; `lines` holds what it printed."""

    def __init__(self, command: Sequence[str], code: int, lines: List[str]):
        name = " ".join([os.path.basename(command[0]), *command[1:3]])
        super().__init__(
            f"`{name}` failed with exit code {code}; its last lines are above."
        )
        self.lines = lines


class Interpreter(NamedTuple):
    """A Python that was started and told about itself."""

    executable: str
    version: str
    headers: bool
    compilers: Tuple[str, ...]


def tell(text: str) -> None:
    """Prints one line on standard error."""
    print(text, file=sys.stderr, flush=True)


def child_environment(environ: Mapping[str, str]) -> Dict[str, str]:
    """Returns the environment for uv, pip and the Pythons that are tried.

    uv brings its own certificates and so rejects a network that has its own
    authority; the machine's are used unless the user chose otherwise.
    """
    child = {k: v for k, v in environ.items() if k not in FOREIGN_VARIABLES}
    chosen = {"SSL_CERT_DIR", "SSL_CERT_FILE", "UV_NATIVE_TLS", "UV_SYSTEM_CERTS"}
    if not chosen & set(child) and any(map(os.path.exists, CERTIFICATES)):
        child["UV_SYSTEM_CERTS"] = "1"
    return child


def output_of(command: Sequence[str], environ: Mapping[str, str]) -> Optional[str]:
    """Returns what a quick command prints, or None if it fails in any way."""
    try:
        done = subprocess.run(
            command,
            env=child_environment(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=PROBE_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


def run(command: Sequence[str], environ: Mapping[str, str]) -> None:
    """Runs a command in the project's folder without showing what it prints.

    Raises:
      CommandError: It failed.
    """
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=child_environment(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode:
        lines = done.stdout.decode(errors="replace").strip().splitlines()
        raise CommandError(command, done.returncode, lines)


def machine_problem(system: str, machine: str, libc: str) -> Optional[str]:
    """Tells in one sentence why the wheels cannot run here, or None if they can.

    Args:
      system: The kernel's name, as in `uname -s`.
      machine: The processor's architecture, as in `uname -m`.
      libc: The C library and its version, such as "glibc 2.36"; "" for another one.
    """
    if (system, machine) != ("Linux", "x86_64"):
        return (
            "Shortlist's wheels (TensorFlow, TFX, ScaNN) are made for Linux on x86-64 "
            f"and this is {system} on {machine}: use such a machine or a linux/amd64 "
            "container."
        )
    found = re.match(r"glibc (\d+)\.(\d+)", libc)
    if found and tuple(map(int, found.groups())) >= MIN_GLIBC:
        return None
    return (
        "Shortlist's wheels need glibc {}.{} or newer and this system has {}: use "
        "Debian 10, Ubuntu 20.04, RHEL 8 or a newer one of these."
    ).format(*MIN_GLIBC, libc or "another C library")


def libc_version() -> str:
    """Returns the C library with its version, such as "glibc 2.36", or ""."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (OSError, ValueError):
        return ""


def _newest_first(pattern: str) -> List[str]:
    """Returns the paths that match, those with the highest numbers first."""
    return sorted(
        glob.glob(pattern),
        key=lambda path: [int(number) for number in re.findall(r"\d+", path)],
        reverse=True,
    )


def _on_path(name: str, environ: Mapping[str, str]) -> Iterator[str]:
    """Yields every executable of this name on PATH: the first may be a dead shim."""
    for folder in environ.get("PATH", os.defpath).split(os.pathsep):
        found = shutil.which(name, path=folder) if folder else None
        if found:
            yield found


def python_candidates(environ: Mapping[str, str], running: str) -> Iterator[str]:
    """Yields where CPython 3.10 may be, the preferred places first.

    Args:
      environ: Environment variables: HOME, PATH, PYENV_ROOT, XDG_DATA_HOME and
        UV_PYTHON_INSTALL_DIR are looked at.
      running: The Python that runs this file: `make PYTHON=…` may have named it.
    """
    if running:
        yield running
    yield from _on_path("python" + PYTHON, environ)
    home = environ.get("HOME") or os.path.expanduser("~")
    pyenv = environ.get("PYENV_ROOT") or os.path.join(home, ".pyenv")
    yield from _newest_first(
        os.path.join(glob.escape(pyenv), "versions", PYTHON + ".*", "bin", "python")
    )
    data = environ.get("XDG_DATA_HOME") or os.path.join(home, ".local", "share")
    managed = environ.get("UV_PYTHON_INSTALL_DIR") or os.path.join(data, "uv", "python")
    name = f"cpython-{PYTHON}.*-linux-x86_64*-gnu"
    yield from _newest_first(
        os.path.join(glob.escape(managed), name, "bin", "python" + PYTHON)
    )


def probe(executable: str, environ: Mapping[str, str]) -> Optional[Interpreter]:
    """Starts a Python and returns it if it is a working 64-bit CPython 3.10.

    A virtual environment's Python stands for the one it was made from: .venv itself
    may be active, and it is about to be replaced.
    """
    printed = output_of([executable, "-I", "-c", PROBE], environ) or ""
    try:
        told = json.loads(printed.strip().rpartition("\n")[2])
    except ValueError:
        return None
    fits = told["fits"] and told["version"].startswith(PYTHON + ".")
    if not fits or not os.path.exists(told["executable"]):
        return None
    return Interpreter(
        told["executable"], told["version"], told["headers"], tuple(told["compilers"])
    )


def find_pythons(environ: Mapping[str, str], running: str) -> List[Interpreter]:
    """Returns the first complete CPython 3.10, or all that only lack C headers."""
    incomplete = []
    for candidate in python_candidates(environ, running):
        found = probe(candidate, environ)
        if found and found.headers:
            return [found]
        if found:
            incomplete.append(found)
    return incomplete


def uv_version(uv: str, environ: Mapping[str, str]) -> Tuple[int, ...]:
    """Returns uv's version, such as (0, 13, 9), or () if it does not run."""
    printed = output_of([uv, "--version"], environ) or ""
    found = re.match(r"uv (\d+)\.(\d+)\.(\d+)", printed)
    return tuple(map(int, found.groups())) if found else ()


def find_uv(environ: Mapping[str, str]) -> Optional[str]:
    """Returns a uv that is new enough: one on PATH, or our own of an earlier call."""
    own = os.path.join(ROOT, ".tools", "uv", "bin", "uv")
    for candidate in [*_on_path("uv", environ), own]:
        if uv_version(candidate, environ) >= MIN_UV:
            return candidate
    return None


def uv_installers(
    python: str, target: str, environ: Mapping[str, str]
) -> Optional[List[List[str]]]:
    """Returns the commands by which a Python can install uv, or None if it cannot.

    Debian's Pythons come without ensurepip, hence without a working venv, unless
    python3-venv is installed; there pip alone will do.
    """
    pip = ["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "-q"]
    lock = ["--require-hashes", "-r", os.path.join("requirements", "bootstrap.lock")]
    # uv's own package asks for Python 3.8.
    has = "import sys; assert sys.version_info >= (3, 8); import "
    if output_of([python, "-c", has + "ensurepip, venv"], environ) is not None:
        made = os.path.join(target, "bin", "python")
        return [[python, "-m", "venv", target], [made, *pip, *lock]]
    if output_of([python, "-c", has + "pip"], environ) is not None:
        return [[python, *pip, "--target", target, *lock]]
    return None


def install_uv(pythons: Sequence[str], environ: Mapping[str, str]) -> str:
    """Installs the locked uv in .tools/uv with the first Python that can.

    Returns:
      The path of uv.

    Raises:
      SetupError: No Python can, or the download failed.
    """
    target = os.path.join(ROOT, ".tools", "uv")
    for python in pythons:
        commands = uv_installers(python, target, environ)
        if commands:
            tell("Installing uv in .tools")
            shutil.rmtree(target, ignore_errors=True)
            for command in commands:
                run(command, environ)
            return os.path.join(target, "bin", "uv")
    raise SetupError(
        "uv is needed and no Python found here (3.8 or newer) has pip or venv to "
        "install it with: install python3-venv (Debian, Ubuntu: apt-get install "
        "python3-venv) or uv itself."
    )


def download_python(uv: str, environ: Mapping[str, str]) -> None:
    """Lets uv fetch its own CPython 3.10.

    Raises:
      SetupError: It could not.
    """
    tell(f"Fetching CPython {PYTHON} with uv, as none was found")
    try:
        run([uv, "python", "install", "--no-bin", PYTHON], environ)
    except CommandError as error:
        reason = re.sub(r"^\s*(cause|error): *", "", (error.lines or ["?"])[-1])
        raise SetupError(
            f"CPython {PYTHON} is needed, none was found (on PATH, in pyenv's versions "
            f"or among uv's) and uv could not fetch one ({reason}): install it "
            f"(Debian, Ubuntu: python{PYTHON} and python{PYTHON}-dev; pyenv: `pyenv "
            f"install {PYTHON}`) or name one with `make "
            f"PYTHON=/path/to/python{PYTHON}`."
        ) from error


def check_build_tools(python: Interpreter, environ: Mapping[str, str]) -> None:
    """Checks for what packages without a wheel (pyfarmhash, crcmod) are built with.

    Raises:
      SetupError: C headers or a compiler are missing.
    """
    if not python.headers:
        raise SetupError(
            f"{python.executable} has no C headers (Python.h), which packages without "
            "a wheel are built with: install them (Debian, Ubuntu: apt-get install "
            f"python{PYTHON}-dev)."
        )
    chosen = [environ[name].split()[0] for name in ("CC", "CXX") if environ.get(name)]
    for compiler in chosen or python.compilers:
        if not shutil.which(compiler, path=environ.get("PATH", os.defpath)):
            raise SetupError(
                f"{compiler} is not on PATH and packages without a wheel are built "
                "with it: install a C and C++ compiler (Debian, Ubuntu: apt-get "
                "install build-essential)."
            )


def find_tools(environ: Mapping[str, str], running: str) -> Tuple[str, Interpreter]:
    """Returns uv and a complete CPython 3.10, fetching what is missing.

    Raises:
      SetupError: One of them cannot be had here.
    """
    pythons = find_pythons(environ, running)
    able = [python.executable for python in pythons] + [running]
    uv = find_uv(environ) or install_uv(able, environ)
    if not pythons:
        download_python(uv, environ)
    elif not pythons[0].headers:
        # uv's own has them; without the internet the sentence is about headers.
        with contextlib.suppress(SetupError):
            download_python(uv, environ)
    pythons = find_pythons(environ, running)
    if not pythons:
        raise SetupError(
            f"uv fetched a CPython {PYTHON} that does not run here: name a working one "
            f"with `make PYTHON=/path/to/python{PYTHON}`."
        )
    check_build_tools(pythons[0], environ)
    return uv, pythons[0]


class Environment:
    """The virtual environment, with a stamp that says what it holds in full.

    The stamp is written last and removed first, so that an environment without one
    is an interrupted installation.
    """

    def __init__(self, path: str, environ: Mapping[str, str]):
        # A link to a roomier disk stays a link.
        self.path = os.path.realpath(path)
        self.python = os.path.join(self.path, "bin", "python")
        self._environ = environ
        self._stamp_path = os.path.join(self.path, "shortlist-stamp.json")

    def satisfies(self, lock: str) -> bool:
        """Tells whether the packages of this lock are all installed."""
        held = self._read_stamp()
        if held.get("lock") not in SATISFIED_BY[lock]:
            return False
        return held == self._wanted_stamp(held["lock"])

    def is_sound(self, python: Interpreter) -> bool:
        """Tells whether packages can be added; if not, it must be made anew."""
        held = self._read_stamp()
        wanted = {"place": self._place(), "python": python.version}
        return (
            all(held.get(key) == value for key, value in wanted.items())
            and self._version() == python.version
        )

    def unstamp(self) -> None:
        """Marks the environment as unfinished."""
        with contextlib.suppress(FileNotFoundError):
            os.remove(self._stamp_path)

    def stamp(self, lock: str) -> None:
        """Marks the environment as finished, in one step."""
        partial = self._stamp_path + ".partial"
        with open(partial, "w", encoding="utf-8") as file:
            json.dump(self._wanted_stamp(lock), file, indent=1)
        os.replace(partial, self._stamp_path)

    def _place(self) -> str:
        """Returns the two folders whose paths the installed scripts hold."""
        return os.pathsep.join([ROOT, self.path])

    def _version(self) -> str:
        """Returns the version that its Python tells, or "" if that does not run."""
        code = "import sys; print('%d.%d.%d' % sys.version_info[:3])"
        command = [self.python, "-I", "-S", "-c", code]
        return (output_of(command, self._environ) or "").strip()

    def _wanted_stamp(self, lock: str) -> Dict[str, str]:
        sha256 = hashlib.sha256()
        for path in (os.path.join("requirements", lock + ".lock"), "setup.py"):
            with open(os.path.join(ROOT, path), "rb") as file:
                sha256.update(file.read())
        return {
            "digest": sha256.hexdigest(),
            "lock": lock,
            "place": self._place(),
            "python": self._version(),
        }

    def _read_stamp(self) -> Dict[str, str]:
        try:
            with open(self._stamp_path, encoding="utf-8") as file:
                stamp = json.load(file)
        except (OSError, ValueError):
            return {}
        return stamp if isinstance(stamp, dict) else {}


def install(lock: str, environ: Mapping[str, str], running: str) -> None:
    """Brings a lock's environment in line with it, from whatever state it is in.

    Raises:
      SetupError: Something is missing or a command failed.
    """
    folder = FOLDERS[lock]
    venv = Environment(os.path.join(ROOT, folder), environ)
    if venv.satisfies(lock):
        return
    uname = platform.uname()
    problem = machine_problem(uname.system, uname.machine, libc_version())
    if problem:
        raise SetupError(problem)
    with _only_one():
        if venv.satisfies(lock):
            return
        started = time.monotonic()
        uv, python = find_tools(environ, running)
        if not venv.is_sound(python):
            made_with = f"CPython {python.version} ({python.executable})"
            tell(f"Making {folder} with {made_with}")
            try:
                _make_anew(uv, venv, python, environ)
            except (SetupError, OSError):
                # A killed installation's own uv may still have written into it.
                time.sleep(1)
                _make_anew(uv, venv, python, environ)
        _install_packages(uv, venv, lock, environ)
        tell(f"Installed in {time.monotonic() - started:.0f} s")


def _make_anew(
    uv: str, venv: Environment, python: Interpreter, environ: Mapping[str, str]
) -> None:
    """Makes an empty environment in the place of what is there."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(venv.path)
    make = [uv, "venv", "--python", python.executable, "--clear", venv.path]
    run(make, environ)


def _install_packages(
    uv: str, venv: Environment, lock: str, environ: Mapping[str, str]
) -> None:
    """Installs exactly a lock's packages, and the project where it runs on them."""
    path = os.path.join("requirements", lock + ".lock")
    into = ["--python", venv.python, "--no-progress"]
    venv.unstamp()
    size = SIZES.get(lock, "3 GB")
    tell(f"Installing {path} ({size}: a minute or two, and the time to download them)")
    # Packages without a wheel are built with the setuptools of the lock: the newest
    # need not be able to.
    sync = ["sync", "--require-hashes", "--build-constraints", path, path]
    run([uv, "pip", *sync, *into], environ)
    if lock != "peers":
        tell("Installing the project itself, editable")
        project = ["install", "--no-deps", "--no-build-isolation", "--editable", ROOT]
        run([uv, "pip", *project, *into], environ)
    venv.stamp(lock)


@contextlib.contextmanager
def _only_one() -> Iterator[None]:
    """Makes a second installer in this folder wait for the first."""
    tools = os.path.join(ROOT, ".tools")
    os.makedirs(tools, exist_ok=True)
    with open(os.path.join(tools, "install.lock"), "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell("Waiting for another installation in this folder to end")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write_locks(
    options: Sequence[str], environ: Mapping[str, str], running: str
) -> None:
    """Writes the locks anew from the *.in files, keeping pins that still fit.

    Args:
      options: More options for `uv pip compile`, such as --upgrade.
      environ: Environment variables.
      running: The Python that runs this file.

    Raises:
      SetupError: Something is missing or no set of versions fits.
    """
    uv, python = find_tools(environ, running)
    common = [
        *("--generate-hashes", "--no-annotate", "--no-header", "--no-emit-index-url"),
        *("--no-progress", "--python", python.executable, "--python-version", PYTHON),
        *("--python-platform", "x86_64-manylinux_{}_{}".format(*MIN_GLIBC)),
    ]
    # The tests must see the very versions that a user gets, and a server those that
    # its models were made with.
    as_stable = ["--constraints", "requirements/stable.lock"]
    left_out = [f"--no-emit-package={name}" for name in ("tensorflow", "libclang")]
    own = {"test": as_stable, "serving": [*as_stable, *left_out]}
    for name in ("bootstrap", "stable", "test", "serving", "peers"):
        tell(f"Writing requirements/{name}.lock")
        files = [f"requirements/{name}.in", "-o", f"requirements/{name}.lock"]
        chosen = [*common, *own.get(name, []), *options]
        run([uv, "pip", "compile", *files, *chosen], environ)


def _parse(arguments: Optional[Sequence[str]]) -> Tuple[str, List[str]]:
    """Returns what to do and the options for `uv pip compile`."""
    parser = argparse.ArgumentParser(
        description="Makes .venv (for serving and peers a folder in .tools) from a "
        "lock, or the locks from the *.in files.",
        epilog="With `lock`, more options go to `uv pip compile`: --upgrade, say.",
    )
    parser.add_argument("what", choices=[*FOLDERS, "lock"], nargs="?", default="stable")
    parsed, options = parser.parse_known_args(arguments)
    if options and parsed.what != "lock":
        parser.error("unknown argument: " + " ".join(options))
    return parsed.what, options


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Runs the command and returns its exit code."""
    what, options = _parse(arguments)
    environ = dict(os.environ)
    try:
        if what == "lock":
            write_locks(options, environ, sys.executable)
        else:
            install(what, environ, sys.executable)
    except SetupError as error:
        for line in getattr(error, "lines", [])[-SHOWN_LINES:]:
            tell("    " + line)
        tell(str(error))
        return 1
    except OSError as error:
        tell(f"{error.filename}: {error.strerror}; mend that and run this again.")
        return 1
    except KeyboardInterrupt:
        tell("Interrupted; the next call starts over.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
