# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The default recipe beside popularity, item-kNN and EASE on the same splits.

Two protocols on MovieLens 100K, several seeds each: P is random 8:1:1 for each user,
scored per user; I is random 80:20 over all interactions, scored per interaction.
"""

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import serving.process

serving.process.set_up()

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
import tensorflow_datasets as tfds  # noqa: E402
from scipy.sparse import csr_matrix  # noqa: E402

from benchmarks import record  # noqa: E402
from pipeline.config import PipelineConfig, load_config  # noqa: E402
from serving.evaluation import baselines, intervals, metrics  # noqa: E402
from trainer.batches import Interactions  # noqa: E402
from trainer.config import ModelConfig, TrainingConfig  # noqa: E402
from trainer.fit import fit  # noqa: E402
from trainer.model import TwoTowerModel  # noqa: E402

RECIPE = "two-tower"
ABLATION = "two-tower, accidental hits removed"
PROTOCOLS = {
    "P": "random 8:1:1 for each user (valid and test each a tenth rounded down, at "
    "least 1); trained on train only; whole catalogue ranked, train and valid left "
    "out; NDCG and recall at 10, mean over users",
    "I": "random 80:20 over all interactions; trained on train; whole catalogue "
    "ranked, train left out; top-k accuracy, mean over interactions",
}
INTERVALS = (
    "difference: mean over the seeds of recipe minus baseline on the same splits, "
    "difference_sd: between the seeds, difference_95: paired percentile bootstrap "
    "over users, in which a user brings the cases of all seeds"
)
TARGETS = {
    "P": {"ndcg@10": 0.3264, "recall@10": 0.2708},
    "I": {"top-10": 0.174, "top-50": 0.468, "top-100": 0.632},
}
_KS = (10, 50, 100)

Values = dict[str, np.ndarray]
"""Metric name to its value for each case (a user or an interaction)."""


@dataclasses.dataclass(frozen=True)
class Data:
    """All interactions as positions among sorted ids."""

    query: np.ndarray
    candidate: np.ndarray
    queries: int
    candidates: int


@dataclasses.dataclass(frozen=True)
class Split:
    """What one protocol and seed trains on, leaves out and asks for."""

    train: Interactions
    masked: csr_matrix
    """[queries, candidates], left out of every list."""
    query: np.ndarray
    candidate: np.ndarray


def load(config: PipelineConfig) -> Data:
    """Reads the interactions and the catalogue that a config names."""

    def column(part: Any, *names: str) -> list[np.ndarray]:
        builder = tfds.builder(part.source.tfds, data_dir=config.data_dir)
        rows = builder.as_dataset(split=part.source.dataset_split, shuffle_files=False)
        picked = rows.map(lambda row: [row[name] for name in names])
        batches = list(picked.batch(10_000).as_numpy_iterator())
        return [np.concatenate(parts) for parts in zip(*batches, strict=True)]

    log = config.interactions
    users, movies = column(log, log.query_id, log.candidate_id)
    (catalogue,) = column(config.candidates, config.candidates.candidate_id)
    ids, query = np.unique(users, return_inverse=True)
    catalogue = np.unique(catalogue)
    return Data(query, np.searchsorted(catalogue, movies), len(ids), len(catalogue))


def split_per_user(data: Data, seed: int) -> Split:
    """Protocol P: a random tenth of each user's interactions to valid, one to test."""
    order = np.random.default_rng(seed).permutation(len(data.query))
    by_user = order[np.argsort(data.query[order], kind="stable")]
    counts = np.bincount(data.query, minlength=data.queries)
    place = np.arange(len(by_user)) - np.repeat(np.cumsum(counts) - counts, counts)
    tenth = np.repeat(np.maximum(counts // 10, 1), counts)
    test, seen = by_user[place < tenth], by_user[place >= tenth]
    train = by_user[place >= 2 * tenth]
    return _split(data, train, seen, test)


def split_interactions(data: Data, seed: int) -> Split:
    """Protocol I: a random fifth of all interactions to test."""
    order = np.random.default_rng(seed).permutation(len(data.query))
    cut = len(order) // 5
    return _split(data, order[cut:], order[cut:], order[:cut])


def _split(data: Data, train: np.ndarray, seen: np.ndarray, test: np.ndarray) -> Split:
    return Split(
        Interactions(data.query[train], data.candidate[train]),
        baselines.interaction_matrix(
            data.query[seen], data.candidate[seen], (data.queries, data.candidates)
        ),
        data.query[test],
        data.candidate[test],
    )


def score_users(lists: np.ndarray, split: Split) -> Values:
    """Protocol P's figures, one a user."""
    found = metrics.per_query_metrics(lists, split.query, split.candidate, 10)
    return {"ndcg@10": found["ndcg"], "recall@10": found["recall"]}


def score_interactions(lists: np.ndarray, split: Split) -> Values:
    """Protocol I's figures, one an interaction."""
    ranks = metrics.ranks(lists, split.query, split.candidate)
    return {f"top-{k}": ((ranks >= 0) & (ranks < k)).astype(float) for k in _KS}


def cases(protocol: str, split: Split) -> np.ndarray:
    """Returns the user of each case that a protocol scores."""
    if protocol == "I":
        return split.query
    return metrics.evaluated_queries(split.query)


SPLITS: dict[str, Callable[[Data, int], Split]] = {
    "P": split_per_user,
    "I": split_interactions,
}
SCORES: dict[str, Callable[[np.ndarray, Split], Values]] = {
    "P": score_users,
    "I": score_interactions,
}


def rank_baselines(split: Split, regularization: float) -> dict[str, np.ndarray]:
    """Ranks with each baseline, fitted on train alone, 100 candidates a user."""
    train = baselines.interaction_matrix(
        split.train.query, split.train.candidate, split.masked.shape
    )
    # What is masked beside train (valid) is dropped from longer lists afterwards.
    beside = split.masked - train
    depth = max(_KS) + int(beside.getnnz(axis=1).max())
    fitted = {
        "popularity": baselines.popularity(train),
        "item-kNN": baselines.item_knn(train),
        "EASE": baselines.ease(train, regularization=regularization),
    }
    return {
        name: drop(baselines.rank(score, train, depth), beside)
        for name, score in fitted.items()
    }


def drop(lists: np.ndarray, unwanted: csr_matrix) -> np.ndarray:
    """Takes candidates out of padded lists and closes the gaps; 100 are kept."""
    rows = np.arange(len(lists))[:, None]
    goes = (lists < 0) | (unwanted.toarray()[rows, lists] > 0)
    order = np.argsort(goes, axis=1, kind="stable")
    kept = np.where(goes, metrics.PADDING, lists)
    return np.take_along_axis(kept, order, axis=1)[:, : max(_KS)]


def rank_two_tower(
    split: Split, model_config: ModelConfig, training: TrainingConfig
) -> tuple[np.ndarray, float]:
    """Trains the recipe; returns the lists and the seconds of training."""
    tf.keras.utils.set_random_seed(training.seed)
    queries, candidates = split.masked.shape
    counts = np.bincount(split.train.candidate, minlength=candidates)
    model = TwoTowerModel(model_config, queries, counts)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="shortlist-") as folder:
        fit(model, training, split.train, None, folder)
    seconds = time.perf_counter() - started
    query, candidate = (
        tower(tf.range(size, dtype=tf.int64)).numpy()
        for tower, size in (
            (model.query_tower, queries),
            (model.candidate_tower, candidates),
        )
    )
    return metrics.exact_top_k(query, candidate, max(_KS), split.masked)[1], seconds


def measure(config: PipelineConfig, data: Data, protocol: str, seed: int) -> Any:
    """Scores every system on one split.

    Returns:
      For each system its values, the user of each case, seconds of training.
    """
    split = SPLITS[protocol](data, seed)
    lists = rank_baselines(split, config.evaluation.ease_regularization)
    training = config.training.model_copy(update={"seed": seed, "checkpoint": False})
    variants = {RECIPE: config.model}
    if protocol == "P":
        update = {"remove_accidental_hits": True}
        variants[ABLATION] = config.model.model_copy(update=update)
    seconds = {}
    for name, model_config in variants.items():
        lists[name], seconds[name] = rank_two_tower(split, model_config, training)
    values = {name: SCORES[protocol](one, split) for name, one in lists.items()}
    for name, figures in values.items():
        shown = "  ".join(f"{key} {value.mean():.4f}" for key, value in figures.items())
        print(f"  {protocol}, seed {seed}: {name:<36}{shown}", file=sys.stderr)
    return values, cases(protocol, split), seconds


def summarize(runs: list[Any]) -> dict[str, Any]:
    """Sums up the seeds of one protocol: means, sd and paired differences."""
    users = np.concatenate([clusters for _, clusters, _ in runs])
    summary: dict[str, Any] = {}
    for name in runs[0][0]:
        summary[name] = {"metrics": {}}
        for metric in runs[0][0][name]:
            ours, theirs = (
                [values[system][metric] for values, _, _ in runs]
                for system in (RECIPE, name)
            )
            figures = summary[name]["metrics"][metric] = _mean_sd(theirs)
            if name != RECIPE:
                figures.update(_difference(ours, theirs, users))
        seconds = [taken[name] for _, _, taken in runs if name in taken]
        if seconds:
            summary[name]["training_seconds"] = [round(one, 1) for one in seconds]
    return summary


def _mean_sd(values: list[np.ndarray]) -> dict[str, Any]:
    means = [float(one.mean()) for one in values]
    return {
        "mean": round(float(np.mean(means)), 6),
        "sd": round(float(np.std(means, ddof=1)), 6) if len(means) > 1 else None,
        "seeds": [round(one, 6) for one in means],
    }


def _difference(
    ours: list[np.ndarray], theirs: list[np.ndarray], users: np.ndarray
) -> dict[str, Any]:
    """Returns the paired difference, recipe minus the other."""
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    summary = _mean_sd(differences)
    interval = intervals.paired_bootstrap_difference(
        np.concatenate(ours), np.concatenate(theirs), users
    )
    return {
        "difference": summary["mean"],
        "difference_sd": summary["sd"],
        "difference_95": [round(end, 6) for end in interval],
    }


def as_table(protocols: dict[str, Any]) -> str:
    """Returns the results as Markdown."""
    parts = []
    for protocol, systems in protocols.items():
        names = list(TARGETS[protocol])
        first = names[0]
        rows = []
        for system, content in systems.items():
            figures = content["metrics"]
            difference, interval = "", ""
            if system != RECIPE:
                found = figures[first]
                difference = _shown(found["difference"], found["difference_sd"], "+")
                interval = "{:+.4f} to {:+.4f}".format(*figures[first]["difference_95"])
            shown = [_shown(figures[n]["mean"], figures[n]["sd"]) for n in names]
            rows.append([system, *shown, difference, interval])
        rows.sort(key=lambda row: row[1])
        header = [f"protocol {protocol}", *names, f"recipe − it, {first}", "95%"]
        parts.append(record.table(header, rows))
    return "\n\n".join(parts)


def _shown(mean: float, sd: float | None, sign: str = "") -> str:
    return f"{mean:{sign}.4f}" + ("" if sd is None else f" (sd {sd:.4f})")


def measure_all(options: argparse.Namespace) -> dict[str, Any]:
    """Measures every protocol and seed; returns what the results file holds."""
    about = record.about("quality")
    config = load_config(options.config, options.overrides)
    data = load(config)
    protocols = {
        protocol: summarize(
            [measure(config, data, protocol, seed) for seed in options.seeds]
        )
        for protocol in options.protocols
    }
    return {
        **about,
        "protocol": {name: PROTOCOLS[name] for name in options.protocols},
        "intervals": INTERVALS,
        "seeds": options.seeds,
        "seeds_of": "split, initial weights and shuffling",
        "data": "movielens/100k-ratings, every rating a positive",
        "recipe": {
            "model": config.model.model_dump(),
            "training": config.training.model_dump(exclude={"seed", "checkpoint"}),
            "ease_regularization": config.evaluation.ease_regularization,
            "item_knn": "100 neighbours, shrinkage 10",
        },
        "targets": {name: TARGETS[name] for name in options.protocols},
        "results": protocols,
    }


def main() -> None:
    """Measures, unless it is only to show, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--config",
        default="configs/movielens-100k.yaml",
        metavar="FILE",
        help="the recipe (default: %(default)s)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="KEY.PATH=VALUE",
        help="override a config value; repeatable",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=[42, 43, 44],
        help="of the splits and of training (default: %(default)s)",
    )
    parser.add_argument(
        "--protocols",
        nargs="+",
        choices=PROTOCOLS,
        default=list(PROTOCOLS),
        help="P: per user, I: per interaction (default: %(default)s)",
    )
    record.add_arguments(parser, "quality")
    options = parser.parse_args()
    if not options.show:
        record.write(options.out, measure_all(options))
    print(as_table(record.read(options.out)["results"]))


if __name__ == "__main__":
    main()
