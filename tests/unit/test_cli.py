# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The command line: exit codes, what goes to which stream, and what is imported."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from pipeline import summary
from pipeline.cli.main import VERBS, main
from pipeline.layout import Layout, exclusive
from serving.errors import UserError

ROOT = pathlib.Path(__file__).parents[2]
CONFIG = str(ROOT / "configs" / "movielens-100k.yaml")


def a_summary(version="1700000000", passed=True):
    """A summary as a run writes it."""
    figures = {str(k): 0.1 for k in (1, 5, 10, 50, 100)}
    both = {"exact": figures, "scann": figures}
    times = {"p50": 0.5, "p95": 0.6, "p99": 0.7}
    gate = {"name": "recall@10", "value": 0.5, "bound": 0.9, "side": "at least"}
    sentence = "recall@10: 0.5, must be at least 0.9, missed by 0.4"
    return {
        "pipeline": "demo",
        "candidates": 1682,
        "index": {"kind": "scann"},
        "protocol": {"interactions": 20154, "queries": 940},
        "top_k_accuracy": both,
        "top_k_accuracy_masked": both,
        "recall": {"10": 0.5, "100": 0.6},
        "latency_ms": {"exact": times, "scann": times},
        "baselines": {
            "popularity": {"top_k_accuracy": figures, "top_k_accuracy_masked": figures}
        },
        "intervals": {"k": 100, "top_k_accuracy_masked": [0.09, 0.11]},
        "gates": [{**gate, "passed": passed, "sentence": sentence}],
        "pushed_version": version,
    }


def written(root, name="demo", **changes):
    layout = Layout(str(root), name)
    os.makedirs(layout.home)
    summary.write(layout, {**a_summary(**changes), "pipeline": name})
    return layout


@pytest.mark.parametrize("verb", [None, *VERBS])
def test_help_answers_for_every_verb(verb, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*([verb] if verb else []), "--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert "usage: shortlist" in out
    assert verb is None or VERBS[verb] in " ".join(out.split())


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from pipeline.cli import main\n"
        "try: main(['run', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'tensorflow', 'tfx', 'apache_beam', 'numpy', 'pandas', 'scipy',"
        " 'pydantic', 'yaml', 'rich'}\n"
        "print('loaded:', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "loaded: []", done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["dance"],
        ["run"],
        ["recommend"],
        ["recommend", "--query", "user_id"],
        ["recommend", "--query", "=1"],
        ["recommend", "--query", "user_id=1", "-k", "0"],
        ["recommend", "--query", "user_id=1", "-k", "many"],
        ["recommend", "--query", "u=1", "--root", "a", "--model", "b"],
        ["metrics", "--format", "xml"],
    ],
)
def test_wrong_use_is_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "error:" in captured.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nope.yaml"], "can't read config nope.yaml"),
        ([CONFIG, "--set", "x"], "is not of the form key.path=value"),
        ([CONFIG, "--set", "trainin.epochs=1"], "did you mean 'training'?"),
    ],
)
def test_a_wrong_config_is_exit_code_2(arguments, sentence, capsys):
    assert main(["run", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("shortlist run: ") and sentence in line


def test_a_root_that_cannot_be_used_is_told_before_anything_runs(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["run", CONFIG, "--root", str(tmp_path / "file")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "can't write to" in line and "choose another --root" in line


def test_two_runs_in_one_home_are_refused(tmp_path, capsys):
    with exclusive(Layout(str(tmp_path), "movielens-100k")):
        assert main(["run", CONFIG, "--root", str(tmp_path)]) == 1
    assert "another run is going on in" in capsys.readouterr().err
    with exclusive(Layout(str(tmp_path), "movielens-100k")):
        pass  # let go of when the first one ended


def test_metrics_as_json_is_the_summary_and_nothing_else(tmp_path, capsys):
    written(tmp_path)
    assert main(["metrics", "--root", str(tmp_path), "--format", "json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == a_summary() and captured.err == ""


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, ["passed   recall@10", "pushed version 1700000000", "1,682 candidates"]),
        (
            {"version": None, "passed": False},
            ["REFUSED  recall@10: 0.5, must be", "nothing was pushed"],
        ),
    ],
)
def test_metrics_as_text(tmp_path, capsys, changes, says):
    written(tmp_path, **changes)
    assert main(["metrics", "--root", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert all(text in out for text in says), out


def test_metrics_takes_the_pipeline_that_ran_last_or_the_one_named(tmp_path, capsys):
    old, new = written(tmp_path, "old"), written(tmp_path, "new")
    os.utime(old.summary, (1, 1))
    os.utime(new.summary, (2, 2))
    assert summary.find(str(tmp_path)).pipeline == "new"
    assert summary.find(str(tmp_path), "old").pipeline == "old"
    assert main(["metrics", "--root", str(tmp_path), "--pipeline", "none"]) == 1
    assert "no finished run of pipeline none" in capsys.readouterr().err


def test_a_damaged_summary_is_told(tmp_path, capsys):
    layout = written(tmp_path)
    pathlib.Path(layout.summary).write_text('{"pipeline": ')
    assert main(["metrics", "--root", str(tmp_path)]) == 1
    assert "is not valid JSON; run the pipeline again" in capsys.readouterr().err


def test_a_summary_is_written_whole_or_not_at_all(tmp_path):
    layout = written(tmp_path)
    with pytest.raises(TypeError):
        summary.write(layout, {"figure": object()})
    assert summary.read(layout) == a_summary()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--query", "user_id=1"], "no pushed version in"),
    ],
)
def test_recommend_without_a_model(tmp_path, capsys, arguments, sentence):
    assert main(["recommend", "--root", str(tmp_path), *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("shortlist recommend: ") and sentence in line


def test_a_reader_that_goes_away_is_no_failure_to_shout_about(tmp_path):
    written(tmp_path)
    program = "import sys; from pipeline.cli import main; sys.exit(main())"
    command = f"{sys.executable} -c '{program}' metrics --root {tmp_path}"
    done = subprocess.run(
        ["bash", "-c", f"{command} | true"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stderr == ""


def test_refusals_are_the_sentences_of_failed_gates():
    refused = a_summary(passed=False)
    assert summary.refusals(refused) == [refused["gates"][0]["sentence"]]
    assert summary.refusals(a_summary()) == []


def test_nothing_run_yet_is_told(tmp_path):
    with pytest.raises(UserError, match="no finished run of any pipeline"):
        summary.find(str(tmp_path / "none"))
