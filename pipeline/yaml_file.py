# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""A YAML file as a tree of mappings, with overrides, and the line of every key."""

import dataclasses
from typing import Any

import yaml

from serving.errors import UserError

Path = tuple[str, ...]
"""Keys from the root of the tree to a value."""

_MENDS = (
    ("'\\t'", "indent with blanks, not tabs"),
    ("cannot start any token", "put the text in quotes"),
    ("undefined alias", "put a text that starts with '*' in quotes"),
    ("could not find expected ':'", "write 'key: value', with a blank after the colon"),
    ("mapping values", "mend the indentation, or put a text with ': ' in quotes"),
    ("end of stream", "close the quote that opens there"),
    ("<block end>", "indent the line like those beside it"),
    ("expected ','", "close the bracket, or put a text with brackets in quotes"),
    ("another document", "take the line out"),
    ("a constructor for the tag", "take the tag out"),
    ("special characters", "take the character out"),
)
"""What to do about a problem that PyYAML reports, by words in its report."""

_TEXT = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"
_READ_AS = {"bool": "true or false", "null": "nothing", "timestamp": "a date"}


@dataclasses.dataclass
class YamlFile:
    """What a file says, and where."""

    path: str
    tree: dict[str, Any]
    lines: dict[Path, int]
    """Line of each key, counted from 1."""
    overridden: set[Path] = dataclasses.field(default_factory=set)
    """Keys that the file does not say."""

    def override(self, text: str) -> None:
        """Sets one `key.path=value`; the value is read as YAML.

        Raises:
          UserError: The text is not of that form, or the value is not YAML.
        """
        key, separator, value_text = text.partition("=")
        if not separator or not key:
            raise UserError(f"--set {text!r} is not of the form key.path=value")
        try:
            value = yaml.safe_load(value_text)
        except yaml.YAMLError:
            raise UserError(
                f"--set {key}: the value {value_text!r} is not valid YAML"
            ) from None
        path = tuple(key.split("."))
        at = self.tree
        for parent in path[:-1]:
            at = at.setdefault(parent, {})
            if not isinstance(at, dict):
                raise UserError(
                    f"--set {key}: '{parent}' is a value, it has no keys below"
                )
        at[path[-1]] = value
        self.overridden.add(path)

    def where(self, location: Path) -> str:
        """Returns the file and, where it is known, the line of a key.

        A key that is not there has the line of the nearest one above it.
        """
        for length in range(len(location), 0, -1):
            if location[:length] in self.overridden:
                return self.path
            line = self.lines.get(location[:length])
            if line:
                return f"{self.path}, line {line}"
        return self.path


def read(path: str) -> YamlFile:
    """Reads a YAML mapping.

    Raises:
      UserError: The file can't be read, is not YAML, says a key twice or one that is
        not text, or holds no keys.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError as error:
        raise UserError(f"can't read config {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text; save it as UTF-8") from None
    try:
        root = yaml.compose(text, yaml.SafeLoader)
        lines = _lines(path, root) if isinstance(root, yaml.MappingNode) else {}
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(_not_yaml(path, error)) from None
    if not isinstance(tree, dict):
        raise UserError(f"{path} holds no keys; start from one of configs/")
    return YamlFile(path, tree, lines)


def _not_yaml(path: str, error: yaml.YAMLError) -> str:
    """Says where a file stops being YAML, why, and the mend."""
    mark = getattr(error, "problem_mark", None)
    if str(getattr(error, "context", "")).startswith("while scanning"):
        # A quote or key that does not end is to be mended where it begins.
        mark = getattr(error, "context_mark", None) or mark
    line = f", line {mark.line + 1}" if mark else ""
    problem = getattr(error, "problem", None) or " ".join(str(error).split())
    problem = problem.replace("<unicode string>", path)
    mend = next((mend for words, mend in _MENDS if words in problem), "mend the line")
    return f"{path}{line}: not valid YAML: {problem}; {mend}"


def _lines(path: str, node: yaml.MappingNode, above: Path = ()) -> dict[Path, int]:
    """Returns the line of every key of a mapping and of those below it."""
    lines: dict[Path, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.tag not in (_TEXT, _MERGE):
            raise UserError(f"{path}, line {line}: {_not_text(key)}")
        at = (*above, key.value)
        if at in lines:
            raise UserError(
                f"{path}, line {line}: the key '{'.'.join(at)}' is there twice (first "
                f"on line {lines[at]}); take one out"
            )
        lines[at] = line
        if isinstance(value, yaml.MappingNode):
            lines |= _lines(path, value, at)
    return lines


def _not_text(key: yaml.Node) -> str:
    """Says what YAML takes a key for that should be text."""
    if not isinstance(key, yaml.ScalarNode):
        return "a key is a list or has keys of its own; write a text"
    kind = _READ_AS.get(key.tag.rpartition(":")[2], "a number")
    return f"the key {key.value} is {kind} to YAML; put it in quotes"
