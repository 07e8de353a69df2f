# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Every mistake in a file is told in one sentence, with its line and the mend."""

import pytest

from pipeline.cli.main import main
from pipeline.config import load_config
from serving.errors import UserError
from tests.bad_files import (
    CASES,
    LOG,
    QUERIES,
    RIGHT,
    RIGHT_FILES,
    USERS,
    line,
    provoke,
)
from tests.bad_input import CONFIG, BadInput, without_folder


def test_no_kind_of_mistake_is_there_twice():
    assert len({case.wrong for case in CASES}) == len(CASES)


def test_the_files_that_mistakes_are_made_in_are_right(tmp_path):
    files = {**RIGHT_FILES, CONFIG: RIGHT + QUERIES, "users.csv": USERS}
    provoke(BadInput("nothing", "", files), tmp_path)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.wrong)
def test_a_mistake_is_one_sentence(case, tmp_path):
    with pytest.raises(UserError) as caught:
        provoke(case, tmp_path)
    assert without_folder(str(caught.value), tmp_path) == case.message


def test_the_command_line_tells_it_last_and_leaves_nothing_half_written(
    tmp_path, capsys
):
    files = {**RIGHT_FILES, "log.csv": line(LOG, 201, "u01,i1,yesterday")}
    path = BadInput("a word for a time", "", files).write(tmp_path)
    root = tmp_path / "runs"
    assert main(["run", str(path), "--root", str(root)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    assert without_folder(captured.err.splitlines()[-1], tmp_path) == (
        "shortlist run: ExampleGen.interactions: log.csv, line 201: column 'when' "
        "holds 'yesterday', which is no time: give ISO 8601 or a whole number, or set "
        "timestamp_format (format of a feature)"
    )
    artifacts = root / "shop" / "artifacts"
    assert list((artifacts / "ExampleGen.interactions" / "examples").iterdir()) == []


def test_bigquery_without_credentials_is_told_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    config = RIGHT.replace("{csv: log.csv}", "{bigquery: shop.sales.orders}")
    options = "beam: {args: [--project=shop, --temp_location=gs://shop/temp]}\n"
    files = {**RIGHT_FILES, CONFIG: config + options}
    path = BadInput("no credentials", "", files).write(tmp_path)
    with pytest.raises(UserError) as caught:
        load_config(str(path), check_sources=True)
    assert without_folder(str(caught.value), tmp_path) == (
        "shop.yaml, line 3: BigQuery needs credentials and there are none; run 'gcloud "
        "auth application-default login'"
    )
