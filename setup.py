# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Packages Shortlist and its `shortlist` command."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
ROOMS = ("pipeline", "components", "trainer", "serving")


def requirements(path: Path) -> list[str]:
    """Returns the requirement lines of a file, without comments and blank lines."""
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line]


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
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.10,<3.11",
    install_requires=requirements(ROOT / "requirements" / "stable.in"),
    packages=find_packages(
        include=[f"{room}{rest}" for room in ROOMS for rest in ("", ".*")]
    ),
    # Spelled out, the default makes an editable install a plain path entry, so that
    # a package added later is found without installing again.
    package_dir={"": "."},
    package_data={"": ["*.html", "*.pbtxt", "py.typed"]},
    entry_points={"console_scripts": ["shortlist = pipeline.cli:main"]},
)
