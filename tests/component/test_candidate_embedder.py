# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""CandidateEmbedder on the session's towers, beside the towers themselves."""

import pathlib

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from tfx.dsl.components.base import base_beam_executor
from tfx.types import channel_utils, standard_artifacts

from components.artifacts import CandidateEmbeddings
from components.candidate_embedder import component, executor
from serving.candidates import read_candidates
from serving.errors import UserError
from serving.shards import shard_of

TWO_WORKERS = ["--direct_num_workers=2", "--direct_running_mode=multi_threading"]


@pytest.fixture
def embed(made, new_artifact):
    """Runs the executor as its component would have it run; returns the folder."""

    def run(candidates, beam_args=None, previous=None, **options) -> str:
        model = made("Trainer", "model")
        node = component.CandidateEmbedder(
            channel_utils.as_channel([candidates]),
            channel_utils.as_channel([model]),
            previous=previous and channel_utils.as_channel([previous]),
            candidate_id="movie_id",
            **options,
        )
        output = new_artifact(CandidateEmbeddings)
        context = base_beam_executor.BaseBeamExecutor.Context(beam_args)
        executor.Executor(context).Do(
            {
                "candidates": [candidates],
                "model": [model],
                **({"previous": [previous]} if previous else {}),
            },
            {"embeddings": [output]},
            dict(node.exec_properties),
        )
        return output.uri

    return run


def rows_of(folder: str) -> dict[str, dict]:
    """The rows by candidate id, each of which must be there once."""
    rows = pq.read_table(folder).to_pylist()
    result = {row["candidate_id"]: row for row in rows}
    assert len(result) == len(rows)
    return result


@pytest.fixture
def towers_say(made):
    """Asks the trained towers themselves, all candidates at once."""

    def ask(ids: list[str]) -> np.ndarray:
        folder = f"{made('Trainer', 'model').uri}/Format-Serving"
        model = tf.saved_model.load(folder)
        answer = model.signatures["embed_candidate"](movie_id=tf.constant(ids))
        return answer["embedding"].numpy()

    return ask


@pytest.mark.parametrize("batch_size", [7, 5000])
def test_whatever_the_batches_every_candidate_comes_once(
    embed, made, towers_say, batch_size
):
    candidates = made("ExampleCleaner", "cleaned_candidates")
    rows = rows_of(
        embed(candidates, TWO_WORKERS, title="movie_title", batch_size=batch_size)
    )
    assert len(rows) == 1682
    ids = sorted(rows)
    found = np.array([rows[id_]["embedding"] for id_ in ids], np.float32)
    np.testing.assert_allclose(found, towers_say(ids), rtol=0, atol=1e-6)
    assert rows["1"]["title"] == "Toy Story (1995)"


def test_ids_and_titles_stay_the_text_that_they_are(embed, new_examples):
    ids = ["007", "7.0", "1e3", "-1", " padded ", "東京", "a\tb", "null", "1"]
    rows = [
        {"movie_id": id_.encode(), "movie_title": f"Título {id_}".encode()}
        for id_ in ids
    ]
    examples = new_examples({"train": [rows[:3], [], rows[3:7]], "more": [rows[7:]]})
    found = rows_of(embed(examples, title="movie_title"))
    assert {id_: row["title"] for id_, row in found.items()} == {
        id_: f"Título {id_}" for id_ in ids
    }


def test_without_titles_ids_are_shown(embed, new_examples):
    found = rows_of(embed(new_examples({"train": [[{"movie_id": b"5"}]]})))
    assert found["5"]["title"] == "5"


def test_a_candidate_that_lacks_a_title_shows_its_id(embed, new_examples):
    rows = [{"movie_id": b"5"}, {"movie_id": b"6", "movie_title": b"Six"}]
    found = rows_of(embed(new_examples({"train": [rows]}), title="movie_title"))
    assert {id_: row["title"] for id_, row in found.items()} == {"5": "5", "6": "Six"}


def test_attributes_are_kept_beside_the_embedding(embed, new_examples):
    rows = [
        {"movie_id": b"5", "genres": [b"a", b"b"], "year": 1999.0, "country": b"FR"},
        {"movie_id": b"6", "year": float("nan")},
    ]
    kinds = {"genres": "categories", "year": "number", "country": "category"}
    found = rows_of(embed(new_examples({"train": [rows]}), attributes=kinds))
    five, six = (
        {name: row[f"attribute:{name}"] for name in kinds}
        for row in (found["5"], found["6"])
    )
    assert five == {"genres": ["a", "b"], "year": 1999.0, "country": "FR"}
    assert (six["genres"], six["country"]) == ([], "") and np.isnan(six["year"])


@pytest.mark.parametrize("beam_args", [None, TWO_WORKERS])
def test_what_a_servable_has_is_not_embedded_again(
    embed, made, new_examples, towers_say, beam_args
):
    # The session's own catalogue was embedded with its titles.
    servable = made("ScannIndexer", "model")
    catalogue = made("ExampleCleaner", "cleaned_candidates")
    options = {"title": "movie_title", "previous": servable}
    rows = rows_of(embed(catalogue, beam_args, **options))
    assert len(rows) == 1682
    assert not any(row["embedding"] for row in rows.values())
    new = [
        {"movie_id": b"1", "movie_title": b"Another title"},
        {"movie_id": b"new", "movie_title": b"New"},
        {"movie_id": b"50", "movie_title": rows["50"]["title"].encode()},
    ]
    rows = rows_of(embed(new_examples({"train": [new]}), beam_args, **options))
    assert [id_ for id_, row in rows.items() if row["embedding"]] == ["1", "new"]
    found = np.array([rows[id_]["embedding"] for id_ in ("1", "new")], np.float32)
    np.testing.assert_allclose(found, towers_say(["1", "new"]), rtol=0, atol=1e-6)


def test_an_empty_catalogue_is_told_in_one_sentence(embed, new_examples, tmp_path):
    folder = embed(new_examples({"train": [[]]}))
    with pytest.raises(UserError, match="holds no embedded candidates; the catalogue"):
        read_candidates(folder, str(tmp_path))


def test_shards_are_folders_that_the_ids_decide(embed, made):
    candidates = made("ExampleCleaner", "cleaned_candidates")
    for beam_args in (None, TWO_WORKERS):
        folder = embed(
            candidates, beam_args, title="movie_title", batch_size=500, shards=3
        )
        found: dict[str, dict] = {}
        for shard in range(3):
            rows = rows_of(f"{folder}/shards/{shard:05}-of-00003")
            assert 500 < len(rows) < 620
            assert set(shard_of(list(rows), 3)) == {shard}
            found |= rows
        one = rows_of(embed(candidates, title="movie_title", batch_size=500))
        assert found.keys() == one.keys()
        for id_ in one:
            assert found[id_]["title"] == one[id_]["title"]
            np.testing.assert_allclose(
                found[id_]["embedding"], one[id_]["embedding"], rtol=0, atol=1e-6
            )


def test_a_shard_without_candidates_has_no_file(embed, new_examples):
    rows = [{"movie_id": b"5"}, {"movie_id": b"6"}, {"movie_id": b"7"}]
    folder = embed(new_examples({"train": [rows[:1], [], rows[1:]]}), shards=1000)
    files = list(pathlib.Path(folder).rglob("*.parquet"))
    assert {file.parent.name for file in files} == {
        f"{shard:05}-of-01000" for shard in shard_of(["5", "6", "7"], 1000)
    }
    assert sorted(i for f in files for i in rows_of(str(f))) == ["5", "6", "7"]


def test_another_width_or_code_is_another_execution():
    def properties(**options):
        node = component.CandidateEmbedder(
            channel_utils.as_channel([standard_artifacts.Examples()]),
            channel_utils.as_channel([standard_artifacts.Model()]),
            candidate_id="movie_id",
            **options,
        )
        assert node.outputs["embeddings"].type is CandidateEmbeddings
        return dict(node.exec_properties)

    plain = properties()
    assert plain == properties()
    for change in (
        {"title": "name"},
        {"batch_size": 8},
        {"shards": 2},
        {"fingerprint": "f"},
    ):
        assert properties(**change) != plain
