# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of the installer: what it finds, what it says, and when it starts over.

uv is the real one, offline; the locks are small and their one wheel is made here.
"""

import base64
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from requirements import debian, install

ROOT = Path(__file__).parents[2]
STACK = next(
    one for one in install.STACKS if "{}.{}".format(*sys.version_info) in one.pythons
)
"""That these tests run in."""
MINOR = "{}.{}".format(*sys.version_info)
BASE_PYTHON = Path(sys.base_prefix, "bin", f"python{MINOR}")
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"

# A build backend for the copy, so that no setuptools has to be fetched.
BACKEND = """
import zipfile
from pathlib import Path

NAME = "shortlist-0.1.0"


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    name = NAME + "-py3-none-any.whl"
    info = NAME + ".dist-info"
    with zipfile.ZipFile(Path(wheel_directory, name), "w") as wheel:
        wheel.writestr("shortlist.pth", str(Path.cwd()))
        wheel.writestr(info + "/METADATA", "Name: shortlist\\nVersion: 0.1.0\\n")
        wheel.writestr(info + "/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n"
                       "Root-Is-Purelib: true\\nGenerator: test\\n")
        wheel.writestr(info + "/RECORD", "")
    return name


build_wheel = build_editable
"""
PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "shortlist"
version = "0.1.0"
"""


def executable(path: Path, script: str) -> Path:
    """Writes a shell script that can be started."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)
    return path


def python_that_tells(path: Path, version: str = "3.10.7", **told: object) -> Path:
    """Makes a Python that answers the installer's question and nothing else."""
    answer = {
        "executable": str(path),
        "version": version,
        "fits": True,
        "headers": True,
        "compilers": ["cc"],
        **told,
    }
    return executable(path, f"echo 'a warning'\necho '{json.dumps(answer)}'\n")


def found(
    environ: dict[str, str], running: str = "", stack: install.Stack = install.STABLE
) -> list[str]:
    """Returns the executables that the finder settles on."""
    pythons = install.find_pythons(stack, environ, running)
    return [python.executable for python in pythons]


class TestFindPython:
    def test_dead_shim_first_on_path_is_passed_over(self, tmp_path: Path) -> None:
        executable(tmp_path / "shims/python3.10", "echo 'not found' >&2; exit 127")
        good = python_that_tells(tmp_path / "bin/python3.10")
        path = f"{tmp_path}/shims:{tmp_path}/none::{tmp_path}/bin"
        assert found({"PATH": path, "HOME": str(tmp_path)}) == [str(good)]

    @pytest.mark.parametrize(
        "script",
        [
            "exit 0",
            "echo '[]' garbage",
            "echo '{\"version\"'",
            "kill -9 $$",
            "sleep 60",
        ],
        ids=["silent", "garbage", "cut", "killed", "hangs"],
    )
    def test_what_does_not_answer_is_no_python(
        self, tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(install, "PROBE_TIMEOUT_S", 0.3)
        executable(tmp_path / "bin/python3.10", script)
        assert found({"PATH": f"{tmp_path}/bin", "HOME": str(tmp_path)}) == []

    @pytest.mark.parametrize(
        "told", [{"version": "3.11.0"}, {"version": "3.1.10"}, {"fits": False}]
    )
    def test_another_python_is_passed_over(
        self, tmp_path: Path, told: dict[str, object]
    ) -> None:
        python_that_tells(tmp_path / "bin/python3.10", **told)
        assert found({"PATH": f"{tmp_path}/bin", "HOME": str(tmp_path)}) == []

    def test_the_one_that_runs_is_not_left_for_a_newer_one(
        self, tmp_path: Path
    ) -> None:
        running = python_that_tells(tmp_path / "given/python", "3.11.7")
        newest = python_that_tells(tmp_path / "bin/python3.13", "3.13.1")
        python_that_tells(tmp_path / "bin/python3.12", "3.12.1")
        environ = {"PATH": f"{tmp_path}/bin", "HOME": str(tmp_path)}
        assert found(environ, str(running), install.CURRENT) == [str(running)]
        assert found(environ, "", install.CURRENT) == [str(newest)]

    @pytest.mark.parametrize("variable", ["PYENV_ROOT", "HOME"])
    def test_pyenv_versions_newest_first(self, tmp_path: Path, variable: str) -> None:
        root = tmp_path if variable == "PYENV_ROOT" else tmp_path / ".pyenv"
        for version in ("3.10.9", "3.10.13", "3.11.7"):
            python_that_tells(root / "versions" / version / "bin/python", version)
        environ = {"PATH": "", "HOME": "/nonexistent", variable: str(tmp_path)}
        assert found(environ) == [str(root / "versions/3.10.13/bin/python")]

    @pytest.mark.parametrize(
        ("variable", "below"),
        [
            ("HOME", ".local/share/uv/python"),
            ("XDG_DATA_HOME", "uv/python"),
            ("UV_PYTHON_INSTALL_DIR", ""),
        ],
    )
    def test_managed_by_uv(self, tmp_path: Path, variable: str, below: str) -> None:
        name = "cpython-3.10.20-linux-x86_64-gnu/bin/python3.10"
        python = python_that_tells(tmp_path / below / name)
        environ = {"PATH": "", "HOME": "/nonexistent", variable: str(tmp_path)}
        assert found(environ) == [str(python)]

    def test_order_is_running_path_pyenv_uv(self, tmp_path: Path) -> None:
        running = python_that_tells(tmp_path / "given/python")
        python_that_tells(tmp_path / "bin/python3.10")
        pyenv = python_that_tells(tmp_path / ".pyenv/versions/3.10.1/bin/python")
        name = ".local/share/uv/python/cpython-3.10.2-linux-x86_64-gnu/bin/python3.10"
        managed = python_that_tells(tmp_path / name)
        environ = {"PATH": f"{tmp_path}/bin", "HOME": str(tmp_path)}
        order = [str(running), f"{tmp_path}/bin/python3.10", str(pyenv), str(managed)]
        assert list(install.python_candidates("3.10", environ)) == order[1:]
        for first in order:
            assert found(environ, str(running)) == [first]
            executable(Path(first), "exit 1")
        assert found(environ, str(running)) == []

    def test_one_with_c_headers_is_preferred(self, tmp_path: Path) -> None:
        bare = python_that_tells(tmp_path / "bin/python3.10", headers=False)
        environ = {"PATH": f"{tmp_path}/bin", "HOME": str(tmp_path)}
        assert found(environ) == [str(bare)]
        full = python_that_tells(tmp_path / ".pyenv/versions/3.10.1/bin/python")
        assert found(environ) == [str(full)]

    def test_virtual_environment_stands_for_its_base(self, tmp_path: Path) -> None:
        venv = tmp_path / "venv"
        command = [BASE_PYTHON, "-m", "venv", "--without-pip", venv]
        subprocess.run(command, check=True)
        python = install.probe(MINOR, str(venv / "bin/python"), {"PATH": SYSTEM_PATH})
        assert python is not None
        assert os.path.samefile(python.executable, BASE_PYTHON)
        assert not python.executable.startswith(str(venv))
        assert python.version == f"{MINOR}.{sys.version_info[2]}"


class TestFindUv:
    def test_dead_and_old_ones_are_passed_over(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(install, "ROOT", str(tmp_path))
        executable(tmp_path / "a/uv", "exit 127")
        executable(tmp_path / "b/uv", "echo uv 0.9.30")
        environ = {"PATH": f"{tmp_path}/a:{tmp_path}/b"}
        assert install.find_uv(environ) is None
        own = executable(tmp_path / ".tools/uv/bin/uv", "echo uv 0.13.9")
        assert install.find_uv(environ) == str(own)
        newer = executable(tmp_path / "b/uv", "echo 'uv 1.0.0 (x86_64)'")
        assert install.find_uv(environ) == str(newer)

    def test_python_without_ensurepip_uses_its_pip(self, tmp_path: Path) -> None:
        real = f'exec {sys.executable} "$@"'
        debian = executable(
            tmp_path / "debian", f'case "$*" in *ensurepip*) exit 1;; esac\n{real}\n'
        )
        environ = {"PATH": SYSTEM_PATH}
        commands = install.uv_installers(str(debian), "there", environ)
        assert commands is not None
        (command,) = commands
        assert command[:4] == [str(debian), "-m", "pip", "install"]
        assert command[command.index("--target") + 1] == "there"
        assert "--require-hashes" in command

    def test_no_python_that_can(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(install, "ROOT", str(tmp_path))
        bare = executable(tmp_path / "bare", "exit 1")
        with pytest.raises(install.SetupError, match=r"python3-venv.*or uv itself\.$"):
            install.install_uv([str(bare)], {"PATH": SYSTEM_PATH})


class TestMessages:
    @pytest.mark.parametrize(
        ("machine", "part"),
        [
            (("Darwin", "arm64", ""), "Darwin on arm64"),
            (("Linux", "aarch64", "glibc 2.36"), "Linux on aarch64"),
            (("Linux", "x86_64", "glibc 2.17"), "has glibc 2.17"),
            (("Linux", "x86_64", "glibc 2.9"), "has glibc 2.9"),
            (("Linux", "x86_64", ""), "another C library"),
            (("Linux", "x86_64", "glibc 2.28"), None),
            (("Linux", "x86_64", "glibc 3.0"), None),
        ],
    )
    def test_machine(self, machine: tuple[str, str, str], part: str | None) -> None:
        flags = install.CPU_FLAGS
        problem = install.machine_problem(install.STABLE, *machine, flags)
        if part is None:
            assert problem is None
        else:
            assert problem is not None
            assert part in problem
            assert problem.count(". ") == 0

    def test_a_stack_names_the_c_library_that_it_needs(self) -> None:
        machine = ("Linux", "x86_64", "glibc 2.36", install.CPU_FLAGS)
        assert install.machine_problem(install.STABLE, *machine) is None
        problem = install.machine_problem(install.CURRENT, *machine)
        assert problem is not None
        assert "the stack current need glibc 2.39 or newer and this" in problem
        assert "Debian 13" in problem

    def test_missing_cpu_flags_are_named(self) -> None:
        machine = ("Linux", "x86_64", "glibc 2.41", ["sse", "avx"])
        problem = install.machine_problem(install.CURRENT, *machine)
        assert problem is not None
        assert "this one lacks avx2, fma" in problem
        assert set(install.CPU_FLAGS) <= set(install.cpu_flags())

    def test_missing_compiler_is_named(self, tmp_path: Path) -> None:
        python = install.Interpreter("python", "3.10.1", True, ("cc", "c++"))
        executable(tmp_path / "cc", "")
        with pytest.raises(
            install.SetupError, match=r"^c\+\+ is not on PATH.*essential"
        ):
            install.check_build_tools(python, {"PATH": str(tmp_path)})
        executable(tmp_path / "c++", "")
        install.check_build_tools(python, {"PATH": str(tmp_path)})
        with pytest.raises(install.SetupError, match="^clang "):
            install.check_build_tools(python, {"PATH": str(tmp_path), "CC": "clang -m"})

    def test_missing_headers_are_named(self) -> None:
        python = install.Interpreter("/opt/py", "3.10.1", False, ())
        with pytest.raises(install.SetupError, match=r"^/opt/py .*python3\.10-dev"):
            install.check_build_tools(python, {"PATH": ""})

    def test_children_see_no_other_environment(self) -> None:
        environ = dict.fromkeys(install.FOREIGN_VARIABLES, "/elsewhere")
        child = install.child_environment({**environ, "PATH": "/bin"})
        assert child.keys() - {"UV_SYSTEM_CERTS"} == {"PATH"}

    def test_certificates_of_the_machine_unless_chosen(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bundle = tmp_path / "bundle"
        monkeypatch.setattr(install, "CERTIFICATES", (str(bundle),))
        assert install.child_environment({}) == {}
        bundle.touch()
        assert install.child_environment({}) == {"UV_SYSTEM_CERTS": "1"}
        for chosen in ({"UV_SYSTEM_CERTS": "0"}, {"SSL_CERT_FILE": "x"}):
            assert install.child_environment(chosen) == chosen


class TestLocks:
    @staticmethod
    def pins(name: str) -> dict[str, str]:
        """Returns the version of every package in a lock."""
        text = (ROOT / "requirements" / f"{name}.lock").read_text()
        return dict(re.findall(r"^([a-z0-9-]+)==(\S+) \\$", text, re.MULTILINE))

    def test_tests_run_on_what_users_get(self) -> None:
        for stack in install.STACKS:
            own, test = self.pins(stack.name), self.pins(stack.lock("test"))
            assert len(own) > 200
            assert own.items() < test.items()

    @pytest.mark.parametrize("stack", install.STACKS, ids=lambda stack: stack.name)
    def test_server_runs_what_its_models_were_made_with(
        self, stack: install.Stack
    ) -> None:
        own, serving = self.pins(stack.name), self.pins(stack.lock("serving"))
        assert serving.pop("tensorflow-cpu") == own["tensorflow"]
        assert serving.items() < own.items()

    def test_server_does_without_what_trains(self) -> None:
        unneeded = {"apache-beam", "matplotlib", "optuna", "pandas", "tensorflow"}
        unneeded |= {
            "tensorflow-datasets",
            "tensorflow-recommenders",
            "tf-keras",
            "tfx",
        }
        for stack in install.STACKS:
            assert unneeded < self.pins(stack.name).keys()
            assert not unneeded & self.pins(stack.lock("serving")).keys()

    @pytest.mark.parametrize("name", [lock.name for lock in install.LOCKS])
    def test_every_package_is_hashed_and_none_comes_from_an_address(
        self, name: str
    ) -> None:
        text = (ROOT / "requirements" / f"{name}.lock").read_text()
        line = r"(?:[a-z0-9-]+==\S+ \\|    --hash=sha256:[0-9a-f]{64}(?: \\)?)"
        assert re.fullmatch(rf"(?:{line}\n)+", text)
        assert not re.search(r"== *\S+ \\\n[a-z]", text)

    @pytest.mark.parametrize("lock", install.LOCKS, ids=lambda lock: lock.name)
    def test_lock_holds_what_is_asked_for(self, lock: install.Lock) -> None:
        pins = self.pins(lock.name)
        folder = ROOT / "requirements"
        text = "".join((folder / f"{name}.in").read_text() for name in lock.sources)
        asked = re.findall(r"^([A-Za-z][\w-]*)(?:==(\S+))?", text, re.MULTILINE)
        assert asked
        for package, version in asked:
            assert package.lower() in pins
            assert version in ("", pins[package.lower()])


def write_wheel(folder: Path, name: str) -> str:
    """Makes a wheel of one module and returns its locked requirement."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\n"
        "Root-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = []
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in files.items():
            digest = hashlib.sha256(text.encode()).digest()
            code = base64.urlsafe_b64encode(digest).decode().rstrip("=")
            record.append(f"{file},sha256={code},{len(text)}")
            wheel.writestr(file, text)
        wheel.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,"]))
    digest_hex = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"{name}==1.0 \\\n    --hash=sha256:{digest_hex}\n"


class Checkout:
    """A copy of the installer with locks of small wheels, and uv behind a recorder."""

    def __init__(self, path: Path, uv: str):
        self.path = path
        self.log = path / "uv.log"
        wheels, requirements = path / "wheels", path / "requirements"
        requirements.mkdir(parents=True)
        wheels.mkdir()
        for name in ("requirements/install.py", "Makefile"):
            shutil.copy(ROOT / name, path / name)
        (path / "setup.py").touch()
        (path / "backend.py").write_text(BACKEND)
        (path / "pyproject.toml").write_text(PYPROJECT)
        stable, served = (write_wheel(wheels, name) for name in ("one", "four"))
        test = stable + write_wheel(wheels, "two")
        for stack in install.STACKS:
            (requirements / f"{stack.lock('run')}.lock").write_text(stable)
            (requirements / f"{stack.lock('test')}.lock").write_text(test)
            (requirements / f"{stack.lock('serving')}.lock").write_text(served)
        (requirements / "peers.lock").write_text(write_wheel(wheels, "three"))
        self.real_uv = uv
        self.wrap_uv("")
        self.environ = {
            "HOME": str(path / "home"),
            "PATH": f"{path}/bin:{SYSTEM_PATH}",
            "UV_CACHE_DIR": str(path / "cache"),
            "UV_FIND_LINKS": str(wheels),
            "UV_NO_INDEX": "1",
            "UV_OFFLINE": "1",
        }

    def wrap_uv(self, before: str) -> None:
        """Puts shell code before every call of uv but the question of its version."""
        executable(
            self.path / "bin/uv",
            f'[ "$1" = --version ] || {{ echo "$1 $2" >> "{self.log}"\n{before}\n}}\n'
            f'exec "{self.real_uv}" "$@"\n',
        )

    def lock(self, what: str = "run") -> Path:
        """Returns the lock of what is installed."""
        return self.path / "requirements" / f"{STACK.lock(what)}.lock"

    def command(self, what: str, python: str = sys.executable) -> list[str]:
        """Returns the command that installs a lock, of the stack of these tests."""
        installer = str(self.path / "requirements/install.py")
        return [python, installer, what, "--stack", STACK.name]

    def install(
        self, what: str = "run", python: str = sys.executable
    ) -> tuple[int, str]:
        """Runs the installer; returns its exit code and standard error."""
        return self.run(self.command(what, python))

    def run(self, command: list[str], **environ: str) -> tuple[int, str]:
        """Runs a command in the checkout; nothing may come on standard output."""
        done = subprocess.run(
            command,
            cwd=self.path,
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr

    def calls(self) -> list[str]:
        """Returns what uv was asked to do since the last time, and forgets it."""
        calls = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return calls

    def packages(self, folder: str = ".venv") -> set[str]:
        """Returns the names of the packages that an environment holds."""
        site = self.path / folder / f"lib/python{MINOR}/site-packages"
        return {info.name.partition("-")[0] for info in site.glob("*.dist-info")}


FULL = ["venv --python", "pip sync", "pip install"]
MORE = ["pip sync", "pip install"]


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    uv = install.find_uv(dict(os.environ))
    assert uv, "there is no uv: run `make install`, which gets one"
    yield Checkout(tmp_path / "a checkout", uv)


class TestInstall:
    def test_second_call_does_nothing_and_is_quick(self, checkout: Checkout) -> None:
        code, said = checkout.install()
        assert (code, checkout.calls()) == (0, FULL), said
        assert checkout.packages() == {"one", "shortlist"}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert checkout.install() == (0, "")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        assert checkout.calls() == []
        assert spent_s < 0.3

    def test_test_tools_come_on_top_and_serve_the_runtime(
        self, checkout: Checkout
    ) -> None:
        checkout.install("run")
        checkout.calls()
        assert checkout.install("test")[0] == 0
        assert checkout.calls() == MORE
        assert checkout.packages() == {"one", "two", "shortlist"}
        assert checkout.install("run") == (0, "")
        assert checkout.calls() == []

    def test_the_newest_stack_that_the_machine_runs_is_taken(
        self, checkout: Checkout
    ) -> None:
        installer = str(checkout.path / "requirements/install.py")
        code, said = checkout.run([sys.executable, installer])
        assert code == 0, said
        told = next(line for line in said.splitlines() if line.startswith("Stack: "))
        if debian.here() is None and install.find_pythons(
            install.CURRENT, checkout.environ, sys.executable
        ):
            assert told == "Stack: current"
        else:
            # Why a newer one is not taken: the C library, or no Python for it.
            assert told.startswith("Stack: stable (")
            assert "the stack current" in told or "CPython 3.13" in told
        assert checkout.run([sys.executable, installer]) == (0, "")

    def test_another_stack_takes_the_place_of_one(self, checkout: Checkout) -> None:
        checkout.install()
        other = next(one for one in install.STACKS if one is not STACK)
        installer = str(checkout.path / "requirements/install.py")
        code, said = checkout.run([sys.executable, installer, "--stack", other.name])
        if code:  # what it takes is not here, and what is there stays
            assert "glibc" in said or "CPython" in said
            checkout.calls()
            assert checkout.install() == (0, "")
        else:
            assert f"Stack: {other.name}" in said

    @pytest.mark.skipif(
        STACK is not install.STABLE, reason="the peers run on the stable stack's Python"
    )
    def test_peers_are_kept_apart(self, checkout: Checkout) -> None:
        checkout.install("run")
        checkout.calls()
        assert checkout.install("peers")[0] == 0
        assert checkout.calls() == FULL[:2]
        assert checkout.packages(".tools/peers") == {"three"}
        assert checkout.packages() == {"one", "shortlist"}
        assert checkout.install("peers") == checkout.install("run") == (0, "")

    def test_serving_is_kept_apart_and_has_the_project(
        self, checkout: Checkout
    ) -> None:
        checkout.install("run")
        checkout.calls()
        assert checkout.install("serving")[0] == 0
        assert checkout.calls() == FULL
        folder = f".tools/serving-{STACK.name}"
        assert checkout.packages(folder) == {"four", "shortlist"}
        assert checkout.packages() == {"one", "shortlist"}
        assert checkout.install("serving") == checkout.install("run") == (0, "")

    @pytest.mark.parametrize("told", ["", "1"])
    def test_bytecode_is_compiled_where_python_may_write_none(
        self, checkout: Checkout, told: str
    ) -> None:
        command = checkout.command("run")
        code, said = checkout.run(command, PYTHONDONTWRITEBYTECODE=told)
        assert code == 0, said
        site = checkout.path / f".venv/lib/python{MINOR}/site-packages"
        assert bool(list(site.glob("__pycache__/one.*.pyc"))) is bool(told)

    @pytest.mark.parametrize("name", [f"requirements/{STACK.name}.lock", "setup.py"])
    def test_change_of_lock_or_setup_installs_again(
        self, checkout: Checkout, name: str
    ) -> None:
        checkout.install()
        checkout.calls()
        with open(checkout.path / name, "a") as file:
            file.write("# changed\n")
        assert checkout.install()[0] == 0
        assert checkout.calls() == MORE

    def test_package_dropped_from_the_lock_goes(self, checkout: Checkout) -> None:
        checkout.install("test")
        shutil.copy(checkout.lock(), checkout.lock("test"))
        assert checkout.install("test")[0] == 0
        assert checkout.packages() == {"one", "shortlist"}

    @pytest.mark.parametrize("damage", ["gone", "stamp", "empty", "link"])
    def test_broken_environment_is_made_anew(
        self, checkout: Checkout, damage: str
    ) -> None:
        checkout.install()
        checkout.calls()
        venv = checkout.path / ".venv"
        if damage == "gone":
            (venv / "bin/python").unlink()
            (venv / "bin/python").symlink_to("/nonexistent/python")
        elif damage == "stamp":
            (venv / "shortlist-stamp.json").write_text('{"lock": "sta')
        else:
            shutil.rmtree(venv)
        if damage == "link":
            (checkout.path / "elsewhere").mkdir()
            venv.symlink_to("elsewhere")
        code, said = checkout.install()
        assert (code, checkout.calls()) == (0, FULL), said
        assert venv.is_symlink() == (damage == "link")
        assert checkout.install() == (0, "")

    def test_moved_checkout_is_installed_again(
        self, checkout: Checkout, tmp_path: Path
    ) -> None:
        checkout.install()
        moved = tmp_path / "moved"
        checkout.path.rename(moved)
        installer = str(moved / "requirements/install.py")
        command = [sys.executable, installer, "--stack", STACK.name]
        uv = f"{Path(checkout.real_uv).parent}:{SYSTEM_PATH}"
        environ = {"PATH": uv, "UV_FIND_LINKS": str(moved / "wheels")}
        subprocess.run(command, env={**checkout.environ, **environ}, check=True)
        config = (moved / ".venv/bin/activate").read_text()
        assert str(moved) in config
        assert str(checkout.path) not in config

    @pytest.mark.parametrize("over", ["nothing", "a finished one"])
    def test_killed_installation_is_not_taken_for_a_whole_one(
        self, checkout: Checkout, over: str
    ) -> None:
        lock = checkout.lock()
        before = lock.read_text()
        if over != "nothing":
            checkout.install()
        lock.write_text(checkout.lock("test").read_text())
        # uv itself lives on and installs into the same folder.
        checkout.wrap_uv('[ "$2" = sync ] && kill -9 $PPID && sleep 1')
        assert checkout.install()[0] == -signal.SIGKILL
        checkout.calls()
        checkout.wrap_uv("")
        lock.write_text(before)
        code, said = checkout.install()
        assert "Waiting for another installation" in said
        assert (code, checkout.calls()) == (0, FULL), said
        assert checkout.packages() == {"one", "shortlist"}

    def test_failed_command_shows_its_last_lines_and_one_sentence(
        self, checkout: Checkout
    ) -> None:
        lock = checkout.lock()
        good = lock.read_text()
        lock.write_text(re.sub(r"sha256:\w+", "sha256:" + "0" * 64, good))
        code, said = checkout.install()
        assert code == 1
        assert "Hash mismatch" in said
        last = said.splitlines()[-1]
        assert (
            last == "`uv pip sync` failed with exit code 1; its last lines are above."
        )
        lock.write_text(good)
        assert checkout.install()[0] == 0

    def test_two_at_once_install_once(self, checkout: Checkout) -> None:
        checkout.wrap_uv("sleep 0.5")
        both = [
            subprocess.Popen(
                checkout.command("run"),
                env=checkout.environ,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        said = sorted(process.communicate(timeout=60)[1] for process in both)
        assert [process.returncode for process in both] == [0, 0]
        assert checkout.calls() == FULL
        assert "Waiting for another installation" in said[1]
        assert "Installed in" in said[0]

    def test_full_or_forbidden_folder_is_named(self, checkout: Checkout) -> None:
        (checkout.path / ".tools").write_text("in the way")
        code, said = checkout.install()
        assert code == 1
        assert (
            said
            == f"{checkout.path}/.tools: File exists; mend that and run this again.\n"
        )

    def test_no_python_and_no_way_to_get_one(self, checkout: Checkout) -> None:
        code, said = checkout.install(python=_other_python())
        assert code == 1
        fetching, sentence = said.splitlines()
        minor = STACK.pythons[0]
        assert fetching == f"Fetching CPython {minor} with uv, as none was found"
        assert sentence.startswith(f"CPython {minor} is needed, none was found")
        for mend in (f"python{minor}-dev", f"`pyenv install {minor}`", "`make PYTHON="):
            assert mend in sentence
        assert checkout.calls() == ["python install"]

    @pytest.mark.parametrize("dead", ["python3", f"python{STACK.pythons[0]}"])
    def test_found_past_dead_shims_by_another_python(
        self, checkout: Checkout, dead: str
    ) -> None:
        executable(checkout.path / "bin" / dead, "exit 127")
        root = checkout.path / "pyenv"
        (root / "versions").mkdir(parents=True)
        version = f"{sys.version_info[0]}.{sys.version_info[1]}.99"
        (root / "versions" / version).symlink_to(sys.base_prefix)
        checkout.environ["PYENV_ROOT"] = str(root)
        code, said = checkout.install(python=_other_python())
        assert (code, checkout.calls()) == (0, FULL), said


def _other_python() -> str:
    """Returns a Python that can run the installer but is none of the stack's."""
    wanted = [tuple(map(int, minor.split("."))) for minor in STACK.pythons]
    code = (
        "import sys; own = sys.version_info[:2]; "
        f"sys.exit(own < (3, 7) or own in {wanted})"
    )
    path = os.environ["PATH"].split(os.pathsep)
    for folder in [*path, *SYSTEM_PATH.split(":")]:
        python = os.path.join(folder, "python3")
        if (
            os.path.exists(python)
            and not subprocess.run([python, "-c", code]).returncode
        ):
            command = [python, "-c", "import sys; print(sys.executable)"]
            return subprocess.check_output(command, text=True).strip()
    pytest.skip("this machine has no python3 but one that the stack itself would take")


class TestMake:
    def test_help_lists_every_target(self) -> None:
        text = (ROOT / "Makefile").read_text()
        phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
        assert phony
        shown = subprocess.check_output(["make", "-C", str(ROOT)], text=True)
        listed = re.findall(r"^  (\S+)", shown, re.MULTILINE)
        assert sorted(listed) == sorted(phony[1].split())

    @pytest.mark.parametrize("arguments", [[], ["PYTHON=no-such-python"]])
    def test_dead_python3_is_passed_over(
        self, checkout: Checkout, arguments: list[str]
    ) -> None:
        executable(checkout.path / "bin/python3", "exit 127")
        good = checkout.path / "good"
        good.mkdir()
        (good / "python3").symlink_to(BASE_PYTHON)
        path = f"{checkout.path}/bin:{good}:{SYSTEM_PATH}"
        code, said = checkout.run(["make", "install", *arguments], PATH=path)
        assert (code, checkout.calls()) == (0, FULL), said
        assert checkout.run(["make", "install", *arguments], PATH=path) == (0, "")

    def test_clean_keeps_runs_and_data(self, checkout: Checkout) -> None:
        for name in (".venv", ".tools", "runs", "data"):
            (checkout.path / name).mkdir()
            (checkout.path / name / "file").touch()
        assert checkout.run(["make", "clean"]) == (0, "")
        assert not (checkout.path / ".venv").exists()
        assert not (checkout.path / ".tools").exists()
        assert (checkout.path / "runs/file").exists()
        assert (checkout.path / "data/file").exists()
