# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The TFRS retrieval tutorial's own code path beside `configs/tutorial.yaml`.

Both train on the same 80,000 ratings and are scored on the same 20,000: as the
tutorial scores (by score, over its 1,682 rows) and by candidate id over the 1,664
distinct titles, exactly and through TFRS's ScaNN layer.
"""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

import serving.process

serving.process.set_up()

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
import tensorflow_datasets as tfds  # noqa: E402
import tensorflow_recommenders as tfrs  # noqa: E402

from benchmarks import record  # noqa: E402
from pipeline.layout import Layout  # noqa: E402
from serving.evaluation import baselines, intervals, metrics  # noqa: E402
from serving.evaluation.interactions import positions  # noqa: E402
from serving.model import Recommender  # noqa: E402
from serving.servable import CANDIDATE_ID  # noqa: E402

CONFIG = "configs/tutorial.yaml"
PIPELINE = "tutorial"
SPLIT_SEED = 42
KS = (1, 5, 10, 50, 100)
# Leaves, leaves to search, candidates to reorder. The tutorial's layer defaults to
# 100/10; its text then reorders 1,000, and last takes ten times the leaves.
SCANN = ((100, 10, None), (100, 10, 1000), (1000, 100, 1000))
PROTOCOL = (
    "80,000 / 20,000 by tf.data's shuffle, seed 42; top-k accuracy, mean over the "
    "20,000 held-out ratings; seen titles kept, in *_masked left out; by score: ahead "
    "of the true title are fewer than k scores above its own (TensorFlow's in_top_k, "
    "to which an answer padded with NaN is a miss); by id: the true title is among "
    "the k returned; 95% intervals: percentile bootstrap over users"
)

Accuracy = dict[str, float]
"""Top-k accuracy at each k, the k as text."""


@dataclasses.dataclass(frozen=True)
class Ratings:
    """The tutorial's data: its two datasets and the same as arrays."""

    train: tf.data.Dataset
    test: tf.data.Dataset
    movies: tf.data.Dataset
    titles: np.ndarray
    """Distinct titles, sorted, [1664]."""
    users: np.ndarray
    """Distinct users, sorted, [943]."""
    seen: Any
    """Sparse [users, titles] of the training ratings."""
    user: np.ndarray
    title: np.ndarray
    """Positions of each held-out rating's user and title, [20000]."""


@dataclasses.dataclass(frozen=True)
class Towers:
    """What a trained model makes of all users and titles."""

    queries: np.ndarray
    """float32 [users, dimensions]."""
    candidates: np.ndarray
    """float32 [titles, dimensions]."""


def load(data_dir: str) -> Ratings:
    """Reads and splits as the tutorial does."""
    raw = tfds.load("movielens/100k-ratings", split="train", data_dir=data_dir)
    ratings = raw.map(
        lambda row: {"user_id": row["user_id"], "movie_title": row["movie_title"]}
    ).cache()
    movies = tfds.load("movielens/100k-movies", split="train", data_dir=data_dir)
    movies = movies.map(lambda row: row["movie_title"]).cache()
    tf.random.set_seed(SPLIT_SEED)
    shuffled = ratings.shuffle(100_000, seed=SPLIT_SEED, reshuffle_each_iteration=False)
    # Drawn once: each pass over a shuffled dataset would shuffle it again.
    rows = next(shuffled.batch(100_000).as_numpy_iterator())
    titles = np.unique(list(movies.as_numpy_iterator()))
    users, user = np.unique(rows["user_id"], return_inverse=True)
    title = positions(rows["movie_title"], titles)
    parts = slice(80_000), slice(80_000, 100_000)
    train, test = (
        tf.data.Dataset.from_tensor_slices({name: rows[name][part] for name in rows})
        for part in parts
    )
    seen = baselines.interaction_matrix(
        user[parts[0]], title[parts[0]], (len(users), len(titles))
    )
    return Ratings(
        train, test, movies, titles, users, seen, user[parts[1]], title[parts[1]]
    )


class TutorialModel(tfrs.Model):
    """The tutorial's two towers and task, in plain TFRS and Keras."""

    def __init__(self, data: Ratings, dimensions: int = 32):
        """Builds the towers over the distinct users and titles."""
        super().__init__()
        self.user_model, self.movie_model = (
            tf.keras.Sequential(
                [
                    tf.keras.layers.StringLookup(vocabulary=words, mask_token=None),
                    tf.keras.layers.Embedding(len(words) + 1, dimensions),
                ]
            )
            for words in (data.users, data.titles)
        )
        self.task = tfrs.tasks.Retrieval(
            metrics=tfrs.metrics.FactorizedTopK(
                candidates=data.movies.batch(128).map(self.movie_model)
            )
        )

    def compute_loss(self, features: Any, training: bool = False) -> tf.Tensor:
        """Returns the batch's loss; the metric is computed in evaluation only."""
        return self.task(
            self.user_model(features["user_id"]),
            self.movie_model(features["movie_title"]),
            compute_metrics=not training,
        )


def train_tutorial(
    data: Ratings, seed: int, epochs: int = 3
) -> tuple[TutorialModel, float]:
    """Trains as the tutorial does; returns the model and the seconds that it took."""
    # tf.random.set_seed, which the tutorial calls, does not reach Keras's
    # initializers: without this every run has other initial weights.
    tf.keras.utils.set_random_seed(seed)
    model = TutorialModel(data)
    model.compile(optimizer=tf.keras.optimizers.Adagrad(learning_rate=0.1))
    cached_train = data.train.shuffle(100_000).batch(8192).cache()
    started = time.perf_counter()
    model.fit(cached_train, epochs=epochs, verbose=0)
    return model, time.perf_counter() - started


def run_tutorial(data: Ratings, seed: int) -> tuple[Towers, dict[str, Any]]:
    """Trains and evaluates as the tutorial does; a seed of 42 is its own."""
    model, seconds = train_tutorial(data, seed)
    cached_test = data.test.batch(4096).cache()
    started = time.perf_counter()
    figures = model.evaluate(cached_test, return_dict=True, verbose=0)
    evaluated = time.perf_counter()
    towers = Towers(
        model.user_model(tf.constant(data.users)).numpy(),
        model.movie_model(tf.constant(data.titles)).numpy(),
    )
    return towers, {
        "model.evaluate": {
            str(k): float(figures[f"factorized_top_k/top_{k}_categorical_accuracy"])
            for k in KS
        },
        "fit_seconds": round(seconds, 1),
        "evaluate_seconds": round(evaluated - started, 1),
    }


def run_ours(data: Ratings, root: str, seed: int) -> tuple[Towers, dict[str, Any]]:
    """Runs the pipeline and loads what it pushed."""
    shortlist = os.path.join(os.path.dirname(sys.executable), "shortlist")
    options = [
        *("--root", root, "--format", "json"),
        *("--set", f"training.seed={seed}"),
        # Seeds differ by more; this run is not to be held against the one before.
        *("--set", "evaluation.gates.max_drop_from_baseline=null"),
    ]
    done = subprocess.run(
        [shortlist, "run", CONFIG, *options],
        cwd=record.ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"shortlist run {CONFIG} ended with code {done.returncode}")
    report = json.loads(done.stdout)
    folder = Layout(root, PIPELINE).serving
    model = Recommender(os.path.join(folder, report["pushed_version"]))
    if not np.array_equal(model.candidate_ids(), data.titles):
        raise SystemExit("the pushed catalogue is not the tutorial's distinct titles")
    towers = Towers(model.embed_query({"user_id": data.users}), model.embeddings())
    reported = ("index", "top_k_accuracy", "top_k_accuracy_masked", "recall")
    return towers, {
        "shortlist metrics": {name: report[name] for name in reported},
        "servable": ask_one_by_one(data, towers, model),
        "popularity": report["baselines"]["popularity"],
    }


def ask_one_by_one(data: Ratings, towers: Towers, model: Recommender) -> dict[str, Any]:
    """Scores the servable as a server meets it, one query a request.

    `shortlist metrics` asks 128 a request; an answer must not depend on that.
    """
    asked = [model.search({"user_id": [user]}, max(KS)) for user in data.users]
    ids = np.concatenate([answer[CANDIDATE_ID].numpy() for answer in asked])
    found = positions(ids.reshape(-1), data.titles).reshape(ids.shape)
    exact = metrics.exact_top_k(towers.queries, towers.candidates, max(KS))[1]
    recall = metrics.recall_against_exact(found, exact, max(KS))
    return {"by_id": by_id(data, found), "recall@100": float(recall.mean())}


def check_same_split(
    data: Ratings,
    lists: np.ndarray,
    ours: dict[str, Any],
    popularity: dict[str, Accuracy],
) -> None:
    """Stops unless the pipeline's own figures follow from the tutorial's split."""
    popular = baselines.rank(baselines.popularity(data.seen), data.seen, max(KS))
    reported = ours["shortlist metrics"]["top_k_accuracy"]["exact"]
    pairs = {
        "held-out": (by_id(data, lists), reported),
        "training": (by_id(data, popular), popularity["top_k_accuracy_masked"]),
    }
    for name, (here, there) in pairs.items():
        if not np.allclose([here[str(k)] for k in KS], [there[str(k)] for k in KS]):
            raise SystemExit(
                f"the pipeline's {name} ratings are not the tutorial's: top-k "
                f"accuracy {there} there, {here} on the tutorial's split"
            )


def by_id(data: Ratings, lists: np.ndarray) -> Accuracy:
    """Returns top-k accuracy by id of one list a user, [users, 100]."""
    ranks = metrics.ranks(lists, data.user, data.title)
    return {str(k): v for k, v in metrics.top_k_accuracy(ranks, KS).items()}


def by_score(data: Ratings, towers: Towers, scores: np.ndarray) -> Accuracy:
    """Returns what TFRS's FactorizedTopK computes without ids.

    TFRS 0.7.7 refuses that for an approximate index; the tutorial was written when
    it did not. An approximate score may lie below the true one of the same title, and
    titles that the index did not find are in nobody's way.

    Args:
      data: The held-out ratings.
      towers: The model.
      scores: float32 [users, 100], the index's, best first.
    """
    positive = np.sum(towers.queries[data.user] * towers.candidates[data.title], axis=1)
    found = metrics.top_k_accuracy_by_score(scores[data.user], positive, KS)
    return {str(k): value for k, value in found.items()}


def search_scann(
    towers: Towers, leaves: int, to_search: int, reorder: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Asks TFRS's ScaNN layer for 100 titles a user.

    Returns:
      Scores and positions [users, 100]; where the layer padded, NaN and -1.
    """
    layer = tfrs.layers.factorized_top_k.ScaNN(
        num_leaves=leaves,
        num_leaves_to_search=to_search,
        num_reordering_candidates=reorder,
    )
    layer.index(tf.constant(towers.candidates))
    answer = layer(tf.constant(towers.queries), k=max(KS))
    scores, rows = (part.numpy() for part in answer)
    missing = [(0, 0), (0, max(KS) - scores.shape[1])]
    scores = np.pad(scores, missing, constant_values=np.nan)
    rows = np.pad(rows.astype(np.int64), missing, constant_values=metrics.PADDING)
    return scores, np.where(np.isnan(scores), metrics.PADDING, rows)


def measure(data: Ratings, towers: Towers) -> dict[str, Any]:
    """Scores one model: exact search and each ScaNN setting, by id and by score."""
    scores, exact = metrics.exact_top_k(towers.queries, towers.candidates, max(KS))
    _, masked = metrics.exact_top_k(
        towers.queries, towers.candidates, max(KS), data.seen
    )
    report: dict[str, Any] = {
        "exact": {
            "by_id": by_id(data, exact),
            "by_score": by_score(data, towers, scores),
            "by_id_masked": by_id(data, masked),
        }
    }
    for setting in SCANN:
        scores, found = search_scann(towers, *setting)
        recall = metrics.recall_against_exact(found, exact, max(KS)).mean()
        report[_name(setting)] = {
            "by_id": by_id(data, found),
            "by_score": by_score(data, towers, scores),
            "recall@100": float(recall),
            "padded_share": float((found < 0).mean()),
        }
    return report


def _name(setting: tuple[int, int, int | None]) -> str:
    leaves, to_search, reorder = setting
    return f"ScaNN {leaves}/{to_search}/{reorder or 'none'}"


def compare(data: Ratings, root: str, seed: int) -> dict[str, Any]:
    """Trains both with one seed and scores both."""
    theirs, told = run_tutorial(data, seed)
    print(f"  tutorial, seed {seed}: {told}", file=sys.stderr)
    ours, reported = run_ours(data, root, seed)
    popularity = reported.pop("popularity")
    lists = {
        name: metrics.exact_top_k(towers.queries, towers.candidates, max(KS))[1]
        for name, towers in (("tutorial", theirs), ("ours", ours))
    }
    check_same_split(data, lists["ours"], reported, popularity)
    ours_hit, theirs_hit = (
        (metrics.ranks(lists[name], data.user, data.title) >= 0).astype(float)
        for name in ("ours", "tutorial")
    )
    difference = intervals.paired_bootstrap_difference(ours_hit, theirs_hit, data.user)
    return {
        "seed": seed,
        "tutorial": {**told, **measure(data, theirs)},
        "ours": {**reported, **measure(data, ours)},
        "exact_top_100_95": {
            "ours": list(intervals.bootstrap_mean(ours_hit, data.user)),
            "tutorial": list(intervals.bootstrap_mean(theirs_hit, data.user)),
            "ours_minus_tutorial": list(difference),
        },
        "popularity": popularity,
    }


def as_table(runs: list[dict[str, Any]]) -> str:
    """Returns the means over the seeds as Markdown."""

    def row(name: str, *path: str, last: tuple[str, ...] = ()) -> list[str]:
        figures = [f"{_mean(runs, *path, k):.4f}" for k in ("10", "50", "100")]
        return [name, *figures, f"{_mean(runs, *last):.4f}" if last else ""]

    exact = [
        row("tutorial, model.evaluate, by score", "tutorial", "model.evaluate"),
        *(
            row(f"{title}, exact, by id", name, "exact", "by_id",
                last=(name, "exact", "by_id_masked", "100"))
            for title, name in (("tutorial", "tutorial"), ("Shortlist", "ours"))
        ),
        row("popularity, by id", "popularity", "top_k_accuracy",
            last=("popularity", "top_k_accuracy_masked", "100")),
    ]  # fmt: skip
    names = [_name(setting) for setting in SCANN]
    scann = [
        row(f"{title}, {name}, {how.replace('_', ' ')}", key, name, how,
            last=(key, name, "recall@100"))
        for title, key in (("tutorial", "tutorial"), ("Shortlist", "ours"))
        for name in names
        for how in ("by_id", "by_score")
    ]  # fmt: skip
    scann += [
        row("Shortlist's servable, one query a request, by id", "ours", "servable",
            "by_id", last=("ours", "servable", "recall@100")),
        row("Shortlist's servable, by shortlist metrics, by id", "ours",
            "shortlist metrics", "top_k_accuracy", "scann",
            last=("ours", "shortlist metrics", "recall", "100")),
    ]  # fmt: skip
    header = ["top-k accuracy, seen kept", "top-10", "top-50", "top-100"]
    return "\n\n".join(
        [
            record.table([*header, "top-100, seen left out"], exact),
            record.table([*header, "recall@100 of exact"], scann),
        ]
    )


def _mean(runs: list[dict[str, Any]], *path: str) -> float:
    """Returns the mean over runs of the value at a path of keys."""
    values: list[Any] = []
    for run in runs:
        at: Any = run
        for key in path:
            at = at[key]
        values.append(at)
    return float(np.mean(values))


def measure_all(options: argparse.Namespace) -> dict[str, Any]:
    """Runs both for each seed; returns what the results file holds."""
    about = record.about("tutorial")
    data = load(os.path.join(record.ROOT, "data"))
    with tempfile.TemporaryDirectory(prefix="shortlist-") as folder:
        root = os.path.abspath(options.root or folder)
        runs = [compare(data, root, seed) for seed in options.seeds]
    return {
        **about,
        "protocol": PROTOCOL,
        "data": "movielens/100k-ratings and 100k-movies; 1,664 distinct titles",
        "held_out": {"ratings": len(data.user), "users": len(np.unique(data.user))},
        "seeds": options.seeds,
        "seeds_of": "initial weights and batches; the split's is 42",
        "runs": runs,
    }


def main() -> None:
    """Measures, unless it is only to show, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--root", metavar="DIR", help="folder of runs (default: a temporary one)"
    )
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=[42, 43, 44],
        help="of initial weights and batches; the split's is always 42",
    )
    record.add_arguments(parser, "tutorial")
    options = parser.parse_args()
    if not options.show:
        record.write(options.out, measure_all(options))
    print(as_table(record.read(options.out)["runs"]))


if __name__ == "__main__":
    main()
