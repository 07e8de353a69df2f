# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Reads a Dockerfile, and builds it without an engine: each RUN in a chroot, by root.

Of the language only what docker/ uses: an unknown instruction is an error.
"""

import dataclasses
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
_NONE: Mapping[str, str] = MappingProxyType({})
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Instruction(NamedTuple):
    """A line of a Dockerfile, with those that continue it."""

    keyword: str
    value: str

    @property
    def words(self) -> list[str]:
        """Its value as a list, written as JSON or as for a shell."""
        if self.value.startswith("["):
            return json.loads(self.value)
        return shlex.split(self.value)


def read(path: Path, args: Mapping[str, str] = _NONE) -> list[Instruction]:
    """Returns the instructions of a Dockerfile, its ARGs carried out.

    Args:
      path: The Dockerfile.
      args: Those of --build-arg.
    """
    lines = path.read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#"))
    joined = re.sub(r"\\\n\s*", "", text)
    every = {**dict(re.findall(r"^ARG (\w+)=(\S+)$", joined, re.M)), **args}
    known: dict[str, str] = {}  # to a stage: what it declares
    found = []
    for keyword, _, value in (line.partition(" ") for line in joined.splitlines()):
        if keyword == "ARG":
            known |= {value: every[value]} if value in every else {}
        elif keyword:
            named = every if keyword == "FROM" else known
            known = {} if keyword == "FROM" else known
            value = re.sub(
                r"\$\{(\w+)\}", lambda one, named=named: named.get(one[1], ""), value
            )
            found.append(Instruction(keyword, value.strip()))
    return found


def stages(path: Path, args: Mapping[str, str] = _NONE) -> list[list[Instruction]]:
    """Returns the instructions of each stage, FROM first."""
    found: list[list[Instruction]] = []
    for one in read(path, args):
        if one.keyword == "FROM":
            found.append([])
        found[-1].append(one)
    return found


def copied(stage: list[Instruction]) -> Iterator[tuple[str, list[str], str]]:
    """Yields each COPY's stage ("" for the context), sources and target."""
    for one in stage:
        if one.keyword == "COPY":
            words = one.words
            other = words.pop(0).removeprefix("--from=") if "=" in words[0] else ""
            yield other, words[:-1], words[-1]


@dataclasses.dataclass
class Image:
    """The files of a stage, and how they are started."""

    root: Path
    environ: dict[str, str] = dataclasses.field(default_factory=lambda: {"PATH": PATH})
    workdir: str = "/"
    user: str = "0:0"
    entrypoint: list[str] = dataclasses.field(default_factory=list)
    cmd: list[str] = dataclasses.field(default_factory=list)
    healthcheck: list[str] = dataclasses.field(default_factory=list)

    def command(
        self, command: list[str], *mounts: str, sealed: bool = False
    ) -> list[str]:
        """Returns what starts a command within, as process 1.

        Args:
          command: With arguments.
          mounts: Folders to show read-only, as OUTSIDE:INSIDE.
          sealed: In a network of its own, and nothing but /tmp can be written.
        """
        root = shlex.quote(str(self.root))
        steps = [
            f"mount --bind {root} {root}",
            f"mount --rbind /dev {root}/dev",
            f"mount -t proc proc {root}/proc",
        ]
        for mount in mounts:
            source, _, target = mount.partition(":")
            there = f"{root}{target}"
            steps += [
                f"mount --bind {shlex.quote(source)} {there}",
                f"mount -o remount,ro,bind {there}",
            ]
        if sealed:
            steps += [
                "ip link set lo up",
                f"mount -t tmpfs tmpfs {root}/tmp",
                f"mount -o remount,ro,bind {root}",
            ]
        environ = [f"{name}={value}" for name, value in self.environ.items()]
        within = ["env", "-i", f"--chdir={self.workdir}", *environ, *command]
        chroot = ["chroot", f"--userspec={self.user}", str(self.root), *within]
        steps.append(f"exec {shlex.join(chroot)}")
        namespaces = ["--mount", "--pid", "--fork", "--kill-child"]
        namespaces += ["--net"] if sealed else []
        return ["unshare", *namespaces, "sh", "-ec", "\n".join(steps)]


def build(path: Path, bases: Path, made: Path, args: Mapping[str, str]) -> Image:
    """Builds a Dockerfile from the project's root.

    Args:
      path: The Dockerfile.
      bases: Folder with the files of each image that it is built FROM, by its name.
      made: An empty folder, for the files of the stages.
      args: Those of --build-arg.

    Returns:
      Its last stage.
    """
    named: dict[str, Image] = {}
    for number, stage in enumerate(stages(path, args)):
        base, *rest = stage[0].words
        image = Image(made / str(number))
        subprocess.run(["cp", "-a", str(bases / base), str(image.root)], check=True)
        named[rest[-1] if rest else ""] = image
        for one in stage[1:]:
            _carry_out(one, image, named)
    return image


def _carry_out(one: Instruction, image: Image, named: dict[str, Image]) -> None:
    if one.keyword == "RUN":
        _run(image, one.value)
    elif one.keyword == "COPY":
        for other, sources, target in copied([one]):
            _copy(named[other].root if other else ROOT, sources, image, target)
    elif one.keyword == "WORKDIR":
        image.workdir = one.value
        (image.root / one.value.lstrip("/")).mkdir(parents=True, exist_ok=True)
    elif one.keyword == "ENV":
        for name, _, value in (word.partition("=") for word in one.words):
            image.environ[name] = value.replace("$PATH", image.environ["PATH"])
    elif one.keyword == "USER":
        image.user = one.value
    elif one.keyword in ("ENTRYPOINT", "CMD"):
        setattr(image, one.keyword.lower(), one.words)
    elif one.keyword == "HEALTHCHECK":
        image.healthcheck = json.loads(one.value.partition("CMD ")[2])
    elif one.keyword not in ("LABEL", "EXPOSE", "STOPSIGNAL"):
        raise ValueError(f"{one.keyword} is not known here")


def _run(image: Image, script: str) -> None:
    done = subprocess.run(
        image.command(["sh", "-c", script]), capture_output=True, text=True
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"


def _copy(origin: Path, sources: list[str], image: Image, target: str) -> None:
    """Copies files, and what is in folders, as COPY does."""
    there = image.root / image.workdir.lstrip("/") / target.lstrip("/")
    if target.startswith("/"):
        there = image.root / target.lstrip("/")
    for source in (origin / name.lstrip("/") for name in sources):
        if source.is_dir():
            shutil.copytree(
                source,
                there,
                symlinks=True,
                ignore=shutil.ignore_patterns("__pycache__")
                if origin == ROOT
                else None,
                dirs_exist_ok=True,
            )
        else:
            into = there / source.name if target.endswith("/") else there
            into.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, into)
