# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""`shortlist synth`: the law of its rows, its files, and the config it writes."""

import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset
import pytest

from pipeline.cli import synth
from pipeline.cli.main import main
from pipeline.config import load_config
from pipeline.synth import world
from pipeline.synth.world import Size, World
from serving.errors import UserError

SMALL = Size(interactions=60_000, candidates=2_000, queries=3_000, clusters=40)


def written(folder: pathlib.Path, size: Size = SMALL, *options: object) -> pathlib.Path:
    """Calls the command line."""
    numbers = [
        part
        for name in ("interactions", "candidates", "queries", "clusters")
        for part in (f"--{name}", getattr(size, name))
    ]
    arguments = ["synth", "-o", folder, *numbers, *options]
    assert main([str(one) for one in arguments]) == 0
    return folder


def read(folder: pathlib.Path, form: str = "csv") -> pa.Table:
    files = sorted(str(path) for path in folder.iterdir())
    return pyarrow.dataset.dataset(files, format=form).to_table()


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> pathlib.Path:
    return written(tmp_path_factory.mktemp("synth") / "small")


@pytest.fixture(scope="module")
def log(made) -> dict[str, np.ndarray]:
    table = read(made / "interactions")
    return {name: table[name].to_numpy() for name in table.column_names}


@pytest.fixture(scope="module")
def catalogue(made) -> dict[str, np.ndarray]:
    table = read(made / "candidates")
    return {name: table[name].to_numpy() for name in table.column_names}


@pytest.fixture(scope="module")
def cluster(log, catalogue) -> np.ndarray:
    """The cluster of each interaction's candidate, by the candidates' titles."""
    of_id = {
        id_: int(title.rsplit(" ", 1)[1])
        for id_, title in zip(
            catalogue["candidate_id"], catalogue["title"], strict=True
        )
    }
    return np.array([of_id[id_] for id_ in log["candidate_id"]])


# The law


def test_there_is_as_much_of_everything_as_was_asked_for(log, catalogue, cluster):
    assert len(log["query_id"]) == SMALL.interactions
    assert len(catalogue["candidate_id"]) == SMALL.candidates
    assert len(np.unique(log["query_id"])) == SMALL.queries
    assert set(cluster) == set(range(SMALL.clusters))


def test_ids_are_unique_texts_and_every_one_of_the_log_is_in_the_catalogue(
    log, catalogue
):
    ids = catalogue["candidate_id"]
    assert len(set(ids)) == len(ids) and all(type(id_) is str for id_ in ids)
    assert set(log["candidate_id"]) <= set(ids)
    assert all(type(id_) is str for id_ in log["query_id"])


def test_no_query_has_a_candidate_twice(log):
    pairs = set(zip(log["query_id"], log["candidate_id"], strict=True))
    assert len(pairs) == SMALL.interactions


@pytest.mark.parametrize("clusters", [1, 100])
def test_popularity_falls_by_a_power_law(clusters):
    size = Size(400_000, 10_000, 40_000, clusters)
    rows = np.concatenate([part.candidate for part in World(size, 1).interactions()])
    counts = np.sort(np.bincount(rows, minlength=size.candidates))[::-1]
    # The head is flatter: no query has the most popular one more than once.
    ranks = np.arange(100, 2000)
    slope, _ = np.polyfit(np.log(ranks), np.log(counts[ranks - 1]), 1)
    assert slope == pytest.approx(-world.EXPONENT, abs=0.2)


def test_a_query_keeps_to_its_own_clusters(log, cluster):
    """By which a model can beat popularity: the marginal shares do not tell."""

    def largest_share(clusters: np.ndarray) -> float:
        order = np.argsort(log["query_id"], kind="stable")
        _, starts = np.unique(log["query_id"][order], return_index=True)
        parts = np.split(clusters[order], starts[1:])
        return np.mean([np.bincount(part).max() / len(part) for part in parts])

    shuffled = np.random.default_rng(0).permutation(cluster)
    assert largest_share(cluster) > 0.4
    assert largest_share(shuffled) < 0.25


def test_interactions_are_in_2024(log):
    first = np.datetime64("2024-01-01").astype("datetime64[s]").astype(int)
    last = np.datetime64("2025-01-01").astype("datetime64[s]").astype(int)
    assert first <= log["timestamp"].min() < first + 86_400
    assert last - 86_400 < log["timestamp"].max() < last


def test_a_category_holds_whole_clusters_and_has_its_own_prices(catalogue):
    clusters = np.array([int(t.rsplit(" ", 1)[1]) for t in catalogue["title"]])
    of_cluster = dict(zip(clusters, catalogue["category"], strict=True))
    assert [of_cluster[one] for one in clusters] == list(catalogue["category"])
    medians = {
        name: np.median(catalogue["price"][catalogue["category"] == name])
        for name in ("category-0", "category-19")
    }
    assert 0 < medians["category-0"] < medians["category-19"]


def test_a_log_too_dense_for_its_catalogue_is_refused():
    with pytest.raises(UserError, match=r"more than half of the 100 candidates; raise"):
        World(Size(10_000, 100, 100, 10), 1)


def test_the_densest_log_there_can_be_is_drawn():
    size = Size(interactions=30, candidates=6, queries=10, clusters=4)
    (part,) = World(size, 1).interactions()
    assert np.bincount(part.query).max() == size.candidates / 2
    assert len(set(zip(part.query, part.candidate, strict=True))) == 30


# Files


def test_neither_the_number_of_files_nor_their_format_changes_a_row(made, tmp_path):
    one = written(tmp_path / "one", SMALL, "--shards", 1)
    many = written(tmp_path / "many", SMALL, "--shards", 7, "--format", "parquet")
    for name in ("interactions", "candidates"):
        assert len(list((many / name).iterdir())) == 7
        rows = read(made / name)
        assert read(one / name).equals(rows)
        assert read(many / name, "parquet").equals(rows)
        sizes = [len(read(many / name, "parquet"))]
        assert sizes == [getattr(SMALL, name)]


def test_more_blocks_than_one_are_joined_without_a_gap(tmp_path, monkeypatch):
    monkeypatch.setattr(world, "_QUERIES_PER_BLOCK", 1000)
    monkeypatch.setattr(world, "_CANDIDATES_PER_BLOCK", 300)
    folder = written(tmp_path / "blocks", SMALL, "--shards", 4)
    assert read(folder / "interactions").num_rows == SMALL.interactions
    ids = read(folder / "candidates")["candidate_id"].to_pylist()
    assert ids == [f"c{number}" for number in range(SMALL.candidates)]


def test_more_files_than_rows_leave_some_with_a_header_only(tmp_path):
    size = Size(interactions=4, candidates=8, queries=2, clusters=2)
    folder = written(tmp_path / "tiny", size, "--shards", 10)
    lines = [path.read_text().splitlines() for path in folder.glob("inter*/*")]
    assert sorted(map(len, lines)) == [1] * 6 + [2] * 4
    assert {head for head, *_ in lines} == {'"query_id","candidate_id","timestamp"'}


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(made, tmp_path):
    again = written(tmp_path / "again")
    other = written(tmp_path / "other", SMALL, "--seed", 43)
    for path in sorted(made.rglob("*.csv")):
        name = path.relative_to(made)
        assert (again / name).read_bytes() == path.read_bytes()
        assert (other / name).read_bytes() != path.read_bytes()


def test_a_folder_with_something_in_it_is_refused(tmp_path, capsys):
    (tmp_path / "mine").touch()
    assert main(["synth", "-o", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("shortlist synth: ") and "is not empty" in line
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_folder_that_cannot_be_is_told(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["synth", "-o", str(tmp_path / "file" / "below")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "can't write to" in line and "choose another folder" in line


# The config and the command


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_the_config_that_is_written_loads_and_finds_the_files(form, tmp_path):
    folder = written(tmp_path / form, SMALL, "--format", form)
    config = load_config(str(folder / "config.yaml"))
    assert config.name == "synth-60000"
    for part in (config.interactions, config.candidates):
        pattern = pathlib.Path(part.source.path)
        assert part.source.format_name == form
        assert list(pattern.parent.glob(pattern.name))
    assert list(config.candidates.features) == ["category", "price"]


@pytest.mark.parametrize(
    ("interactions", "optimizer", "held_out"),
    [(100_000, "adam", 0.2), (1_000_000, "adagrad", 0.05), (10**7, "adagrad", 0.005)],
)
def test_settings_follow_the_size(interactions, optimizer, held_out, tmp_path):
    from pipeline.synth.config_text import config_text

    size = Size(interactions, interactions // 10, interactions // 20, 100)
    path = tmp_path / "config.yaml"
    path.write_text(config_text(size, 42, "csv"))
    config = load_config(str(path))
    assert config.training.optimizer == optimizer
    assert config.interactions.split.fractions["eval"] == held_out
    assert config.statistics.sample_rate == (0.1 if interactions == 10**7 else 1)


def test_the_help_tells_the_law_as_it_is(capsys):
    with pytest.raises(SystemExit):
        main(["synth", "--help"])
    told = capsys.readouterr().out
    assert synth._LAW in told
    assert f"c^-{world.CLUSTER_EXPONENT:g}" in told
    assert f"exponent {world.EXPONENT:g}" in told
    assert f"(k + 10)^-{world.QUERY_EXPONENT:g}" in told
    assert (
        world.SHARES == (1 / 2, 1 / 5, 1 / 10) and "half, a fifth and a tenth" in told
    )


@pytest.mark.parametrize(
    "wrong", [[], ["--interactions", "0"], ["--seed", "-1"], ["--shards", "many"]]
)
def test_wrong_numbers_are_wrong_use(wrong, tmp_path, capsys):
    where = ["-o", str(tmp_path / "new")] if wrong else []
    with pytest.raises(SystemExit) as stopped:
        main(["synth", *where, *wrong])
    assert stopped.value.code == 2
    assert "error:" in capsys.readouterr().err and not (tmp_path / "new").exists()


def test_it_says_what_to_do_next(tmp_path, capsys):
    folder = written(tmp_path / "next", Size(100, 50, 20, 5))
    out = capsys.readouterr().out
    assert "100 interactions of 20 queries with 50 candidates" in out
    assert f"next: shortlist run {folder}/config.yaml" in out
