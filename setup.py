# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Packages Shortlist and its `shortlist` command."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
ROOMS = ("pipeline", "components", "trainer", "serving")


# Which Pythons a stack is for: each asks for versions that fit together.
STACKS = {"stable": "python_version < '3.11'", "current": "python_version >= '3.11'"}


def requirements(name: str, marker: str = "") -> list[str]:
    """Returns what one of requirements/*.in asks for, where a marker holds."""
    text = (ROOT / "requirements" / f"{name}.in").read_text()
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    return [f"{line}; {marker}" if marker else line for line in lines if line]


README = ROOT / "README.md"

setup(
    name="shortlist",
    version="0.1.0",
    description="Two-tower retrieval on TFX, TFRS and ScaNN, from a log of "
    "interactions to a servable that answers with a short list.",
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    author="The Shortlist Authors",
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.10,<3.14",
    # With Python 3.11 and later pip can't satisfy them; see docs/compatibility.md.
    install_requires=[
        *requirements("common"),
        *(line for one, marker in STACKS.items() for line in requirements(one, marker)),
    ],
    packages=find_packages(
        include=[f"{room}{rest}" for room in ROOMS for rest in ("", ".*")]
    ),
    # Spelled out, the default makes an editable install a plain path entry, so that
    # a package added later is found without installing again.
    package_dir={"": "."},
    package_data={"": ["*.html", "*.pbtxt", "py.typed"]},
    entry_points={"console_scripts": ["shortlist = pipeline.cli:main"]},
)
