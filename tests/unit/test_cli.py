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
from tests.unit.conftest import attributes_of

ROOT = pathlib.Path(__file__).parents[2]
CONFIG = str(ROOT / "configs" / "movielens-100k.yaml")


RANKING = {
    "ndcg@10": 0.3301,
    "recall@10": 0.2749,
    "mrr@10": 0.61,
    "map@10": 0.21,
    "hit_rate@10": 0.88,
    "coverage@10": 0.43,
    "gini@10": 0.87,
    "popularity_bias@10": None,
    "novelty@10": 2.345,
}
NOTHING = {"top_k_accuracy_masked": {}}


def a_summary(version="1700000000", passed=True):
    """A summary as a run writes it."""
    figures = {str(k): 0.1 for k in (1, 5, 10, 50, 100)}
    both = {"exact": figures, "scann": figures}
    system = {
        "top_k_accuracy": figures,
        "top_k_accuracy_masked": figures,
        "ranking": RANKING,
        "ranking_masked": RANKING,
    }
    bounded = {"value": 0.1, "low": 0.09, "high": 0.11}
    metrics = dict.fromkeys(("ndcg@10", "recall@10", "top_100_accuracy"), bounded)
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
        "ranking": {"exact": RANKING, "scann": RANKING},
        "ranking_masked": {"exact": RANKING, "scann": RANKING},
        "baselines": {"popularity": system},
        "previous": None,
        "parts": {
            name: {
                "interactions": 3,
                "share": share,
                "top_k_accuracy_masked": {"popularity": figures, "scann": figures},
            }
            for name, share in (("warm", 0.9), ("cold_queries", 0.1))
        }
        | {"cold_candidates": {"interactions": 0, "share": 0.0, **NOTHING}},
        "intervals": {
            "k": 100,
            "figures": {"scann": metrics, "popularity": metrics},
            "differences": {"popularity": metrics},
        },
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


HEAVY = ("tensorflow", "tfx", "apache_beam", "scann", "numpy", "pandas", "scipy")


@pytest.mark.parametrize(
    ("arguments", "light"),
    [
        (["--help"], ("pydantic", "yaml", "rich")),
        (["run", "--help"], ("pydantic", "yaml", "rich")),
        (["recommend", "--help"], ("pydantic", "yaml", "rich")),
        (["synth", "--help"], ("pydantic", "yaml", "rich", "pyarrow")),
        (["run", "nope.yaml"], ()),
        (["metrics", "--root", "nope"], ("pydantic", "yaml", "rich")),
        (["recommend", "--root", "nope", "--query", "a=1"], ("pydantic", "yaml")),
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(arguments, light, run_python):
    code = (
        "import sys\n"
        "from pipeline.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print('loaded:', *sorted(sys.modules))\n"
    )
    done = run_python("-c", code, *arguments, cwd=ROOT)
    loaded = done.stdout.splitlines()[-1].split()
    assert loaded[0] == "loaded:" and "pipeline.cli.main" in loaded
    assert {*HEAVY, *light} & set(loaded) == set(), done.stderr


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


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "none.yaml"],
        ["compile", "none.yaml", "--runner", "kubeflow", "--root", "gs://shop/runs"],
        ["submit", "none.yaml", "--runner", "kubeflow", "--root", "gs://shop/runs"],
        ["lineage", "--config", "none.yaml"],
    ],
)
def test_every_verb_with_a_config_ends_so(arguments, capsys):
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"shortlist {arguments[0]}: can't read config none.yaml")


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


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'{"pipeline": ', "is not valid JSON; run the pipeline again"),
        (b"", "is not valid JSON; run the pipeline again"),
        (b"\xff\xfe", "is not valid JSON; run the pipeline again"),
        (b"{}", "is not a summary; run the pipeline again"),
        (b"[1]", "is not a summary; run the pipeline again"),
    ],
)
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_damaged_summary_is_told(tmp_path, capsys, content, sentence, form):
    layout = written(tmp_path)
    pathlib.Path(layout.summary).write_bytes(content)
    assert main(["metrics", "--root", str(tmp_path), "--format", form]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"shortlist metrics: {layout.summary} {sentence}\n"


def test_a_summary_is_written_whole_or_not_at_all(tmp_path):
    layout = written(tmp_path)
    with pytest.raises(TypeError):
        summary.write(layout, {"figure": object()})
    assert summary.read(layout) == a_summary()


# recommend


@pytest.fixture
def pushed(build, tmp_path):
    """A root with two pushed versions and much that is none."""
    serving = pathlib.Path(Layout(str(tmp_path), "demo").serving)
    serving.mkdir(parents=True)
    for name, kind in (("9", "exact"), ("10", "scann")):
        (serving / name).symlink_to(build(kind).path, target_is_directory=True)
    (serving / "11" / "variables").mkdir(parents=True)
    for name in (".pushing-12", "13.tmp", "²"):
        (serving / name).symlink_to(build("exact").path, target_is_directory=True)
    (tmp_path / "a file").touch()
    return tmp_path


def recommend(*arguments):
    return main(["recommend", *map(str, arguments)])


def test_recommend_prints_ids_titles_and_scores_as_json(pushed, world, capsys):
    query = ["--query", "user_id=7", "-k", 3, "--format", "json"]
    assert recommend("--root", pushed, *query) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    answer = json.loads(captured.out)
    assert set(answer) == {"query", "recommendations"}
    assert answer["query"] == {"user_id": "7"}
    best = world.ranking("7")[:3]
    scores = dict(zip(world.ids, world.scores("7"), strict=True))
    assert answer["recommendations"] == [
        {
            "candidate_id": movie,
            "title": world.title(movie),
            "score": pytest.approx(scores[movie], abs=1e-5),
        }
        for movie in best
    ]


def test_recommend_prints_a_line_a_result(pushed, world, capsys):
    assert recommend("--root", pushed, "--query", "user_id=7") == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert len(lines) == 10 and captured.err == ""
    place, score, _ = lines[0].split(maxsplit=2)
    assert place == "1"
    assert float(score) == pytest.approx(world.scores("7").max(), abs=1e-4)
    assert lines[0].endswith(world.title(world.ranking("7")[0]))


def test_recommend_leaves_out_what_is_excluded(pushed, world, capsys):
    best = world.ranking("7")
    excluded = [part for movie in best[:2] for part in ("--exclude", movie)]
    query = ["--query", "user_id=7", "-k", 2, "--format", "json"]
    version = Layout(str(pushed), "demo").serving + "/9"
    assert recommend("--model", version, *query, *excluded) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [one["candidate_id"] for one in answer["recommendations"]] == best[2:4]


def test_recommend_says_when_nothing_is_left(pushed, world, capsys):
    excluded = [part for movie in world.ids for part in (f"--exclude={movie}",)]
    query = ["--root", pushed, "--query", "user_id=7", *excluded]
    assert recommend(*query) == 0
    assert capsys.readouterr().out == "no candidates are left\n"
    assert recommend(*query, "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["recommendations"] == []


def test_recommend_asks_the_newest_whole_version(pushed, capsys, monkeypatch):
    from serving import shards

    loaded = []

    class Noting(shards.NativeEngine):
        """The real one, noted."""

        def __init__(self, path):
            loaded.append(os.path.basename(path))
            super().__init__(path)

    monkeypatch.setattr(shards, "NativeEngine", Noting)
    assert recommend("--root", pushed, "--query", "user_id=7") == 0
    query = ["--pipeline", "demo", "--query", "user_id=7"]
    assert recommend("--root", pushed, *query) == 0
    assert loaded == ["10", "10"]
    capsys.readouterr()


def test_recommend_keeps_to_a_filter(pushed, world, capsys):
    query = ["--root", pushed, "--query", "user_id=7", "--format", "json"]
    assert recommend(*query, "--filter", "kind = film and year >= 1950") == 0
    found = json.loads(capsys.readouterr().out)["recommendations"]
    left = [
        one
        for one in world.ranking("7")
        if attributes_of(one)["kind"] == "film" and attributes_of(one)["year"] >= 1950
    ]
    assert [one["candidate_id"] for one in found] == left[:10]
    assert recommend(*query, "--filter", "kind is film") == 1
    assert "filter: 'kind is film' has 'is' where '='" in capsys.readouterr().err


def test_without_a_native_engine_there_are_no_filters(build, capsys):
    model = ["--model", build("tfrs-scann").path, "--query", "user_id=7"]
    assert recommend(*model) == 0
    assert recommend(*model, "--filter", "kind = film") == 1
    assert "--filter needs a native engine" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--root", "{tmp}/none", "--query", "user_id=1"],
            "no pushed version in {tmp}/none; run 'shortlist run CONFIG' first, or "
            "name another --root or a --model",
        ),
        (
            ["--root", "{tmp}", "--pipeline", "other", "--query", "user_id=1"],
            "no pushed version in {tmp}; run 'shortlist run CONFIG' first, or name "
            "another --root or a --model",
        ),
        (
            ["--model", "{tmp}", "--query", "user_id=1"],
            "{tmp} holds no SavedModel; name the folder of a version",
        ),
        (
            ["--root", "{tmp}", "--query", "user=1"],
            "unknown query feature 'user'; the model takes user_id",
        ),
        (
            ["--root", "{tmp}", "--query", "user_id=1", "--query", "hour=3"],
            "unknown query feature 'hour'; the model takes user_id",
        ),
    ],
)
@pytest.mark.parametrize("form", ["text", "json"])
def test_what_recommend_cannot_do_is_one_line(
    arguments, sentence, form, pushed, capsys
):
    arguments = [argument.format(tmp=pushed) for argument in arguments]
    assert recommend(*arguments, "--format", form) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"shortlist recommend: {sentence.format(tmp=pushed)}\n"


def test_a_process_of_its_own_prints_json_and_not_a_word_more(
    pushed, world, run_python
):
    code = "import sys; from pipeline.cli import main; sys.exit(main())"
    arguments = ["recommend", "--root", str(pushed), "--query", "user_id=東京=1"]
    done = run_python("-c", code, *arguments, "-k", "3", "--format", "json", cwd=pushed)
    assert done.returncode == 0
    assert done.stderr == ""
    answer = json.loads(done.stdout)
    assert answer["query"] == {"user_id": "東京=1"}
    assert len(answer["recommendations"]) == 3


# What is left


@pytest.mark.parametrize("reader", ["true", "head -1"])
@pytest.mark.parametrize("gates", [1, 2000])
def test_a_reader_that_goes_away_is_no_failure_to_shout_about(tmp_path, reader, gates):
    # Less than what standard output holds back, and more than a pipe holds.
    layout = written(tmp_path)
    many = {**a_summary(), "gates": a_summary()["gates"] * gates}
    summary.write(layout, many)
    program = "import sys; from pipeline.cli import main; sys.exit(main())"
    arguments = f"metrics --root {tmp_path} --format json"
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -c '{program}' {arguments} | {reader}"],
        cwd=ROOT,
        # Unbuffered, every print would fail at once, and nothing at exit.
        env={k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"},
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    assert done.stdout == ("{\n" if reader == "head -1" else "")


def test_an_interrupt_is_told_and_is_no_traceback(tmp_path, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(summary, "find", interrupted)
    assert main(["metrics", "--root", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "shortlist metrics: interrupted\n"


def test_refusals_are_the_sentences_of_failed_gates():
    refused = a_summary(passed=False)
    assert summary.refusals(refused) == [refused["gates"][0]["sentence"]]
    assert summary.refusals(a_summary()) == []


def test_the_table_puts_each_figure_in_its_column():
    def figures(first):
        return {str(k): first + k / 1000 for k in (1, 5, 10, 50, 100)}

    content = {
        **a_summary(),
        "top_k_accuracy": {"exact": figures(0.1), "scann": figures(0.2)},
        "top_k_accuracy_masked": {"exact": figures(0.3), "scann": figures(0.4)},
        "baselines": {
            name: {
                "top_k_accuracy": figures(first),
                "top_k_accuracy_masked": figures(first + 0.1),
                "ranking_masked": RANKING,
            }
            for name, first in (("popularity", 0.5), ("ease", 0.7))
        },
        "previous": {
            "top_k_accuracy": figures(0),
            "top_k_accuracy_masked": figures(0.01),
            "ranking_masked": {**RANKING, "ndcg@10": 0.25},
        },
        "latency_ms": {
            "exact": {"p50": 1.234, "p95": 2, "p99": 3.456},
            "scann": {"p50": 0.125, "p95": 1, "p99": 12.5},
        },
    }
    lines = summary.as_table(content).splitlines()
    assert max(map(len, lines[2:9])) <= 80  # a terminal's width
    assert lines[0] == (
        "demo: 1,682 candidates, 20,154 held-out interactions of 940 queries, index "
        "scann"
    )
    masked, kept = lines[2].index("seen left out"), lines[2].index("seen kept")
    assert masked < kept
    assert lines[3].split() == ["top-10", "top-50", "top-100"] * 2
    rows = {line[:24].strip(): line[24:].split() for line in lines[4:9]}
    assert rows == {
        "exact search": ["0.3100", "0.3500", "0.4000", "0.1100", "0.1500", "0.2000"],
        "index": ["0.4100", "0.4500", "0.5000", "0.2100", "0.2500", "0.3000"],
        "previous": ["0.0200", "0.0600", "0.1100", "0.0100", "0.0500", "0.1000"],
        "popularity": ["0.6100", "0.6500", "0.7000", "0.5100", "0.5500", "0.6000"],
        "ease": ["0.8100", "0.8500", "0.9000", "0.7100", "0.7500", "0.8000"],
    }
    ends = [lines[3].index("top-10") + 6, lines[3].rindex("top-100") + 7]
    assert [lines[4][end - 6 : end] for end in ends] == ["0.3100", "0.2000"]
    assert "p50 1.23 ms   p99 3.46 ms" in summary.as_table(content)
    assert "p50 0.12 ms   p99 12.50 ms" in summary.as_table(content)
    assert "top-100, seen left out: 0.0900 to 0.1100" in summary.as_table(content)
    without = summary.as_table({**content, "intervals": {}})
    assert "interval" not in without


def test_details_put_model_baselines_and_previous_side_by_side():
    def bounded(value):
        figure = {"value": value, "low": value - 0.01, "high": value + 0.01}
        return dict.fromkeys(("ndcg@10", "recall@10", "top_100_accuracy"), figure)

    content = {
        **a_summary(),
        "previous": {**a_summary()["baselines"]["popularity"]},
        "intervals": {
            "k": 100,
            # As JSON has them, by name.
            "figures": {
                "popularity": bounded(0.1),
                "previous": bounded(0.2),
                "scann": bounded(0.3),
            },
            "differences": {"popularity": bounded(0.2), "previous": bounded(-0.005)},
        },
    }
    text = summary.as_table(content, details=True)
    lines = text.splitlines()
    assert max(map(len, lines[2:])) <= 80
    start = lines.index(next(line for line in lines if line.startswith("first 10")))
    assert lines[start + 1].split() == [
        "NDCG", "recall", "MRR", "MAP", "hits", "cover", "Gini", "popul", "novel"
    ]  # fmt: skip
    assert [line.split()[0] for line in lines[start + 2 : start + 6]] == [
        "exact", "index", "previous", "popularity"
    ]  # fmt: skip
    assert lines[start + 3].split()[1:] == [
        "0.330", "0.275", "0.610", "0.210", "0.880", "0.430", "0.870", "-", "2.345"
    ]  # fmt: skip
    start = lines.index("with 95% intervals, seen left out (bootstrap over queries)")
    rows = [line.split("  ")[0] for line in lines[start + 2 : start + 8]]
    assert rows == [
        "index", "previous", "popularity", "the index minus", "previous", "popularity"
    ]  # fmt: skip
    assert lines[start + 2].count(".3000 (.2900 .3100)") == 3
    assert lines[start + 6].count("-.0050 (-.0150 +.0050)") == 3
    start = lines.index(
        next(line for line in lines if line.startswith("top-100, seen"))
    )
    assert lines[start].split()[4:] == ["warm", "cold", "queries", "cold", "candidates"]
    assert lines[start + 1].split()[3:] == ["90.00%", "10.00%", "0.00%"]
    assert lines[start + 2].split() == ["index", "0.1000", "0.1000", "-"]
    assert lines[start + 3].split() == ["popularity", "0.1000", "0.1000", "-"]
    brief = summary.as_table({**content, "intervals": {}}, details=True)
    assert "interval" not in brief and "cold queries" in brief


def test_a_run_ends_with_less_than_metrics_shows():
    short, long = (summary.as_table(a_summary(), details) for details in (False, True))
    assert len(short.splitlines()) < 20 < len(long.splitlines())


def test_nothing_run_yet_is_told(tmp_path):
    with pytest.raises(UserError, match="no finished run of any pipeline"):
        summary.find(str(tmp_path / "none"))
