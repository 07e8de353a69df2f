# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Every mistake in a config is told in one sentence, with its line and the mend."""

import contextlib
import os
import pathlib
import tempfile

import pytest

from pipeline.cli.main import main
from pipeline.config import load_config
from serving.errors import UserError
from tests.bad_configs import CASES, RIGHT_FILES, provoke
from tests.bad_input import CONFIG, BadInput, without_folder

_NOBODY = 65534


def test_no_kind_of_mistake_is_there_twice():
    assert len({case.wrong for case in CASES}) == len(CASES)


def test_the_config_that_mistakes_are_made_in_is_right(tmp_path):
    right = BadInput("nothing", "", RIGHT_FILES)
    assert load_config(str(right.write(tmp_path)), check_sources=True).name == "shop"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.wrong)
def test_a_mistake_is_one_sentence(case, tmp_path):
    with pytest.raises(UserError) as caught:
        provoke(case, tmp_path)
    assert without_folder(str(caught.value), tmp_path) == case.message


SAMPLE = [
    case
    for case in CASES
    if case.wrong in ("key twice", "column that the header lacks", "empty config")
]


@pytest.mark.parametrize("case", SAMPLE, ids=lambda case: case.wrong)
def test_the_command_line_tells_it_on_one_line(case, tmp_path, monkeypatch, capsys):
    case.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["run", CONFIG]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    said = without_folder(captured.err, tmp_path)
    assert said == f"shortlist run: {case.message}\n"
    assert not (tmp_path / "runs").exists()


@contextlib.contextmanager
def as_one_whom_files_can_be_forbidden():
    """Root, who may read every file, is nobody for a while."""
    if os.geteuid():
        yield
        return
    os.setresuid(_NOBODY, _NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def test_a_file_that_may_not_be_read_is_told():
    # pytest's own folders are closed to others.
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        path = BadInput("nothing", "", RIGHT_FILES).write(folder)
        load_config(str(path), check_sources=True)
        (folder / "orders.csv").chmod(0)
        with as_one_whom_files_can_be_forbidden(), pytest.raises(UserError) as caught:
            load_config(str(path), check_sources=True)
    assert without_folder(str(caught.value), folder) == (
        "shop.yaml, line 4: orders.csv can't be read: permission denied"
    )
