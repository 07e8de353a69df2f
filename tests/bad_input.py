# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What bad input is made of: files in a folder, and the one sentence that is told."""

import dataclasses
import pathlib
from collections.abc import Mapping

CONFIG = "shop.yaml"


@dataclasses.dataclass(frozen=True)
class BadInput:
    """One mistake that a user could make."""

    wrong: str
    """What is wrong, in a few words; no two cases have the same."""
    message: str
    """What is told, with paths relative to the folder."""
    files: Mapping[str, str | bytes]
    """By their path in the folder; the config is `shop.yaml`."""

    def write(self, folder: pathlib.Path) -> pathlib.Path:
        """Writes the files; returns the path of the config."""
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            data = content if isinstance(content, bytes) else content.encode()
            path.write_bytes(data)
        return folder / CONFIG


def without_folder(text: str, folder: pathlib.Path) -> str:
    """Returns a message as it reads in another folder."""
    return text.replace(f"{folder}/", "").replace(str(folder), ".")
