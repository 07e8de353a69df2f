# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Makes .venv: chooses a stack, finds its CPython and uv, and installs a hashed lock.

A stack is a set of versions that fit together, `stable` or `current`. The newest one
that the machine can run is taken unless --stack names one. The libraries of
benchmarks/peers get an environment of their own, .tools/peers, and so does what serves
models without the pipeline, .tools/serving-STACK.

It runs before anything is installed, so it needs the standard library only and
works on any Python from 3.7 on:

    python3 requirements/install.py [run|test|serving|peers|lock] [--stack STACK]
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
from typing import (
    Callable,
    Dict,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# The first release that knows UV_SYSTEM_CERTS.
MIN_UV = (0, 11)
# The first of these holds every package of the second, in the same version.
HOLDS = {"stable-test": "stable", "current-test": "current"}
# Where an environment is, by the stack's name; the peers' NumPy is another one than
# TensorFlow's, and serving's is to show that nothing else is needed.
FOLDERS = {
    "run": ".venv",
    "test": ".venv",
    "serving": os.path.join(".tools", "serving-{}"),
    "peers": os.path.join(".tools", "peers"),
}
AUTO = "auto"
SIZES = {"serving": "1.3 GB", "peers": "0.2 GB"}
"""Of what is installed; anything else takes 3 GB."""
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
    "fits": sys.implementation.name == "cpython" and sys.maxsize > 2**32
    and not sysconfig.get_config_var("Py_GIL_DISABLED"),
    "headers": os.path.exists(headers),
    "compilers": [tool.split()[0] for tool in tools if tool],
}))
"""


class Stack(NamedTuple):
    """A set of versions that fit together, and what it takes to run it."""

    name: str
    pythons: Tuple[str, ...]
    """Minor versions of CPython, the preferred one first."""
    min_glibc: Tuple[int, int]
    systems: str
    """Some that are new enough."""

    def lock(self, what: str) -> str:
        """Returns the name of the lock by which something is installed."""
        named = {"run": self.name, "peers": what}
        return named.get(what, f"{self.name}-{what}")

    def serving(self) -> "Stack":
        """Returns what serves its models: no part of that needs so new a C library."""
        return self._replace(min_glibc=STABLE.min_glibc, systems=STABLE.systems)


CURRENT = Stack(
    "current",
    ("3.13", "3.12", "3.11"),
    # ml-metadata's and tensorflow-data-validation's wheels ask for it.
    (2, 39),
    "Debian 13, Ubuntu 24.04, RHEL 10",
)
STABLE = Stack(
    "stable",
    ("3.10",),
    # h5py's wheel asks for it and has no older build.
    (2, 28),
    "Debian 10, Ubuntu 20.04, RHEL 8",
)
STACKS = (CURRENT, STABLE)
"""The newest first."""
# TensorFlow's and ScaNN's wheels are compiled for these.
CPU_FLAGS = ("avx", "avx2", "fma")


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
        # It shares the lock of `_only_one`, see there.
        close_fds=False,
    )
    if done.returncode:
        lines = done.stdout.decode(errors="replace").strip().splitlines()
        raise CommandError(command, done.returncode, lines)


def machine_problem(
    stack: Stack, system: str, machine: str, libc: str, cpu_flags: Sequence[str]
) -> Optional[str]:
    """Tells in one sentence why a stack's wheels can't run here, or None if they can.

    Args:
      stack: What is to run.
      system: The kernel's name, as in `uname -s`.
      machine: The processor's architecture, as in `uname -m`.
      libc: The C library and its version, such as "glibc 2.36"; "" for another one.
      cpu_flags: What the processor can do, as /proc/cpuinfo tells it.
    """
    if (system, machine) != ("Linux", "x86_64"):
        return (
            "Shortlist's wheels (TensorFlow, TFX, ScaNN) are made for Linux on x86-64 "
            f"and this is {system} on {machine}: use such a machine or a linux/amd64 "
            "container."
        )
    missing = [flag for flag in CPU_FLAGS if flag not in cpu_flags]
    if missing:
        return (
            "Shortlist's wheels (TensorFlow, ScaNN) are compiled for processors with "
            f"{', '.join(CPU_FLAGS)} and this one lacks {', '.join(missing)}: use a "
            "machine made since 2013."
        )
    found = re.match(r"glibc (\d+)\.(\d+)", libc)
    if found and tuple(map(int, found.groups())) >= stack.min_glibc:
        return None
    return (
        "The wheels of the stack {} need glibc {}.{} or newer and this system has {}: "
        "use {} or a newer one of these."
    ).format(stack.name, *stack.min_glibc, libc or "another C library", stack.systems)


def cpu_flags() -> List[str]:
    """Returns what the processor can do; nothing where the kernel does not tell."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            flags = re.search(r"^flags\s*:(.*)$", file.read(), re.MULTILINE)
    except OSError:
        return []
    return flags.group(1).split() if flags else []


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


def python_candidates(minor: str, environ: Mapping[str, str]) -> Iterator[str]:
    """Yields where a CPython may be, the preferred places first.

    Args:
      minor: Such as "3.10".
      environ: Environment variables: HOME, PATH, PYENV_ROOT, XDG_DATA_HOME and
        UV_PYTHON_INSTALL_DIR are looked at.
    """
    yield from _on_path("python" + minor, environ)
    home = environ.get("HOME") or os.path.expanduser("~")
    pyenv = environ.get("PYENV_ROOT") or os.path.join(home, ".pyenv")
    yield from _newest_first(
        os.path.join(glob.escape(pyenv), "versions", minor + ".*", "bin", "python")
    )
    data = environ.get("XDG_DATA_HOME") or os.path.join(home, ".local", "share")
    managed = environ.get("UV_PYTHON_INSTALL_DIR") or os.path.join(data, "uv", "python")
    name = f"cpython-{minor}.*-linux-x86_64*-gnu"
    yield from _newest_first(
        os.path.join(glob.escape(managed), name, "bin", "python" + minor)
    )


def probe(
    minor: str, executable: str, environ: Mapping[str, str]
) -> Optional[Interpreter]:
    """Starts a Python and returns it if it is a working 64-bit CPython of a version.

    A virtual environment's Python stands for the one it was made from: .venv itself
    may be active, and it is about to be replaced.
    """
    printed = output_of([executable, "-I", "-c", PROBE], environ) or ""
    try:
        told = json.loads(printed.strip().rpartition("\n")[2])
    except ValueError:
        return None
    fits = told["fits"] and told["version"].startswith(minor + ".")
    if not fits or not os.path.exists(told["executable"]):
        return None
    return Interpreter(
        told["executable"], told["version"], told["headers"], tuple(told["compilers"])
    )


def find_pythons(
    stack: Stack, environ: Mapping[str, str], running: str
) -> List[Interpreter]:
    """Returns a stack's first complete CPython, or all that only lack C headers."""
    incomplete = []
    every = [
        (minor, candidate)
        for minor in stack.pythons
        for candidate in python_candidates(minor, environ)
    ]
    # The one that runs this first: what .venv was made with is not left for another.
    if running:
        every = [(minor, running) for minor in stack.pythons] + every
    for minor, candidate in every:
        found = probe(minor, candidate, environ)
        if found and found.headers:
            return [found]
        if found and found not in incomplete:
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


def download_python(minor: str, uv: str, environ: Mapping[str, str]) -> None:
    """Lets uv fetch a CPython of its own.

    Raises:
      SetupError: It could not.
    """
    tell(f"Fetching CPython {minor} with uv, as none was found")
    try:
        run([uv, "python", "install", "--no-bin", minor], environ)
    except CommandError as error:
        reason = re.sub(r"^\s*(cause|error): *", "", (error.lines or ["?"])[-1])
        raise SetupError(
            f"CPython {minor} is needed, none was found (on PATH, in pyenv's versions "
            f"or among uv's) and uv could not fetch one ({reason}): install it "
            f"(Debian, Ubuntu: python{minor} and python{minor}-dev; pyenv: `pyenv "
            f"install {minor}`) or name one with `make "
            f"PYTHON=/path/to/python{minor}`."
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
            f"python{'.'.join(python.version.split('.')[:2])}-dev)."
        )
    chosen = [environ[name].split()[0] for name in ("CC", "CXX") if environ.get(name)]
    for compiler in chosen or python.compilers:
        if not shutil.which(compiler, path=environ.get("PATH", os.defpath)):
            raise SetupError(
                f"{compiler} is not on PATH and packages without a wheel are built "
                "with it: install a C and C++ compiler (Debian, Ubuntu: apt-get "
                "install build-essential)."
            )


def find_tools(
    stack: Stack, environ: Mapping[str, str], running: str
) -> Tuple[str, Interpreter]:
    """Returns uv and a complete CPython of a stack, fetching what is missing.

    Raises:
      SetupError: One of them cannot be had here.
    """
    pythons, minor = find_pythons(stack, environ, running), stack.pythons[0]
    able = [python.executable for python in pythons] + [running]
    uv = find_uv(environ) or install_uv(able, environ)
    if not pythons:
        download_python(minor, uv, environ)
    elif not pythons[0].headers:
        # uv's own has them; without the internet the sentence is about headers.
        with contextlib.suppress(SetupError):
            download_python(minor, uv, environ)
    pythons = find_pythons(stack, environ, running)
    if not pythons:
        raise SetupError(
            f"uv fetched a CPython {minor} that does not run here: name a working one "
            f"with `make PYTHON=/path/to/python{minor}`."
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
        name = held.get("lock", "")
        if lock not in (name, HOLDS.get(name)):
            return False
        return held == self._wanted_stamp(name)

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


def install(
    what: str, environ: Mapping[str, str], running: str, stack: str = AUTO
) -> None:
    """Brings an environment in line with its lock, from whatever state it is in.

    Args:
      what: One of FOLDERS.
      environ: Environment variables.
      running: The Python that runs this file.
      stack: Its name; AUTO: the newest one that the machine can run.

    Raises:
      CannotRunError: No such stack can run here.
      SetupError: A command failed.
    """
    # The peers have versions of their own.
    own = (STABLE,) if what == "peers" else STACKS
    stacks = [one for one in own if stack in (AUTO, one.name)]
    if not stacks:
        raise SetupError(f"{what} is there for the stack {own[0].name} only.")
    problems: List[str] = []
    for number, one in enumerate(stacks):
        older = stacks[number + 1 :]
        try:
            _install_stack(one, older, what, environ, running, problems)
            return
        except CannotRunError as error:
            problems.append(str(error))
    raise CannotRunError(problems[-1])


class CannotRunError(SetupError):
    """A stack has no place on this machine; an older one may have."""


def _environment(stack: Stack, what: str, environ: Mapping[str, str]) -> "Environment":
    folder = FOLDERS[what].format(stack.name)
    return Environment(os.path.join(ROOT, folder), environ)


def _install_stack(
    stack: Stack,
    older: Sequence[Stack],
    what: str,
    environ: Mapping[str, str],
    running: str,
    problems: Sequence[str],
) -> None:
    """Installs a stack, see `install`.

    Args:
      stack: The stack.
      older: Those that do as well.
      what: One of FOLDERS.
      environ: Environment variables.
      running: The Python that runs this file.
      problems: Why newer stacks can't be had.

    Raises:
      CannotRunError: It can't run here.
      SetupError: A command failed.
    """
    lock, venv = stack.lock(what), _environment(stack, what, environ)
    if venv.satisfies(lock):
        return
    uname = platform.uname()
    problem = machine_problem(
        stack.serving() if what == "serving" else stack,
        uname.system,
        uname.machine,
        libc_version(),
        cpu_flags(),
    )
    if problem:
        raise CannotRunError(problem)
    with _only_one():
        if venv.satisfies(lock):
            return
        started = time.monotonic()
        if any(
            _environment(one, what, environ).satisfies(one.lock(what)) for one in older
        ):
            # Nothing is fetched in place of what works.
            if not any(one.headers for one in find_pythons(stack, environ, running)):
                raise CannotRunError(f"CPython {stack.pythons[0]} was not found.")
        try:
            uv, python = find_tools(stack, environ, running)
        except CommandError:
            raise
        except SetupError as error:
            raise CannotRunError(str(error)) from error
        if what != "peers":
            why = f" ({problems[-1].rstrip('.')})" if problems else ""
            tell(f"Stack: {stack.name}{why}")
        if not venv.is_sound(python):
            made_with = f"CPython {python.version} ({python.executable})"
            tell(f"Making {os.path.relpath(venv.path, ROOT)} with {made_with}")
            _make_anew(uv, venv, python, environ)
        _install_packages(uv, venv, what, lock, environ)
        tell(f"Installed in {time.monotonic() - started:.0f} s")


def _make_anew(
    uv: str, venv: Environment, python: Interpreter, environ: Mapping[str, str]
) -> None:
    """Makes an empty environment in the place of what is there."""
    venv.unstamp()
    with contextlib.suppress(FileNotFoundError):
        # The folder itself stays: it may be where a disk is mounted.
        for entry in list(os.scandir(venv.path)):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.remove(entry.path)
    make = [uv, "venv", "--python", python.executable, "--clear", venv.path]
    run(make, environ)


def _install_packages(
    uv: str, venv: Environment, what: str, lock: str, environ: Mapping[str, str]
) -> None:
    """Installs exactly a lock's packages, and the project where it runs on them."""
    path = os.path.join("requirements", lock + ".lock")
    into = ["--python", venv.python, "--no-progress"]
    venv.unstamp()
    size = SIZES.get(what, "3 GB")
    tell(f"Installing {path} ({size}: a minute or two, and the time to download them)")
    # Packages without a wheel are built with the setuptools of the lock: the newest
    # need not be able to.
    sync = ["sync", "--require-hashes", "--build-constraints", path, path]
    if environ.get("PYTHONDONTWRITEBYTECODE"):
        # As in many containers. Every process would compile what it imports: five
        # seconds of TensorFlow alone, against half a minute once.
        sync.append("--compile-bytecode")
    run([uv, "pip", *sync, *into], environ)
    if what != "peers":
        tell("Installing the project itself, editable")
        project = ["install", "--no-deps", "--no-build-isolation", "--editable", ROOT]
        run([uv, "pip", *project, *into], environ)
    venv.stamp(lock)


@contextlib.contextmanager
def _only_one() -> Iterator[None]:
    """Makes a second installer in this folder wait for the first.

    What `run` starts holds the lock as well: when an installer is killed, its uv goes
    on writing, and the next one must not begin before that has ended.
    """
    tools = os.path.join(ROOT, ".tools")
    os.makedirs(tools, exist_ok=True)
    with open(os.path.join(tools, "install.lock"), "w", encoding="utf-8") as file:
        os.set_inheritable(file.fileno(), True)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell("Waiting for another installation in this folder to end")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Lock(NamedTuple):
    """How a lock is made."""

    name: str
    stack: Stack
    sources: Tuple[str, ...]
    """*.in files."""
    options: Tuple[str, ...] = ()
    """Of `uv pip compile`."""
    min_glibc: Optional[Tuple[int, int]] = None
    """None: the stack's."""


# The tests must see the very versions that a user gets, and a server those that its
# models were made with.
_AS_STABLE = ("--constraints", "requirements/stable.lock")
# tfx asks for a TensorFlow for which there is no ScaNN.
_OVERRIDE = ("--override", "requirements/current.override")
_AS_CURRENT = ("--constraints", "requirements/current.lock", *_OVERRIDE)
_LEFT_OUT = ("--no-emit-package=tensorflow", "--no-emit-package=libclang")
LOCKS = (
    Lock("bootstrap", STABLE, ("bootstrap",)),
    Lock("stable", STABLE, ("common", "stable")),
    Lock("stable-test", STABLE, ("common", "stable", "test"), _AS_STABLE),
    Lock("current", CURRENT, ("common", "current"), _OVERRIDE),
    Lock("current-test", CURRENT, ("common", "current", "test"), _AS_CURRENT),
    Lock(
        "stable-serving",
        STABLE,
        ("serving", "stable-serving"),
        (*_AS_STABLE, *_LEFT_OUT),
    ),
    Lock(
        "current-serving",
        CURRENT,
        ("serving", "current-serving"),
        (*_AS_CURRENT, *_LEFT_OUT),
        STABLE.min_glibc,
    ),
    Lock("peers", STABLE, ("peers",)),
)
"""In the order in which they are made."""


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
    uv, python = find_tools(STABLE, environ, running)
    common = [
        *("--generate-hashes", "--no-annotate", "--no-header", "--no-emit-index-url"),
        *("--no-progress", "--python", python.executable),
    ]
    for lock in LOCKS:
        tell(f"Writing requirements/{lock.name}.lock")
        files = [f"requirements/{name}.in" for name in lock.sources]
        out = ["-o", f"requirements/{lock.name}.lock"]
        platform_tag = "x86_64-manylinux_{}_{}".format(
            *(lock.min_glibc or lock.stack.min_glibc)
        )
        # The oldest: newer ones run what it runs.
        machine = ["--python-version", lock.stack.pythons[-1], "--python-platform"]
        given = [*common, *machine, platform_tag, *lock.options, *options]
        run([uv, "pip", "compile", *files, *out, *given], environ)


def _parse(arguments: Optional[Sequence[str]]) -> Tuple[str, str, List[str]]:
    """Returns what to do, for which stack, and the options for `uv pip compile`."""
    parser = argparse.ArgumentParser(
        description="Makes .venv (for serving and peers a folder in .tools) from a "
        "lock, or the locks from the *.in files.",
        epilog="With `lock`, more options go to `uv pip compile`: --upgrade, say.",
    )
    parser.add_argument("what", choices=[*FOLDERS, "lock"], nargs="?", default="run")
    names = [stack.name for stack in STACKS]
    parser.add_argument(
        "--stack",
        choices=[AUTO, *names],
        default=AUTO,
        help=f"the set of versions; {AUTO}: the newest that this machine can run",
    )
    parsed, options = parser.parse_known_args(arguments)
    if options and parsed.what != "lock":
        parser.error("unknown argument: " + " ".join(options))
    return parsed.what, parsed.stack, options


def carried_out(step: Callable[[], None]) -> int:
    """Takes a step and returns the exit code; what stands in its way is told."""
    try:
        step()
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


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Runs the command and returns its exit code."""
    what, stack, options = _parse(arguments)
    environ = dict(os.environ)

    def step() -> None:
        if what == "lock":
            write_locks(options, environ, sys.executable)
        else:
            install(what, environ, sys.executable, stack)

    return carried_out(step)


if __name__ == "__main__":
    sys.exit(main())
