# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""How good the default recipe is on MovieLens 100K, what its parts add, what it costs.

The model that is scored is the one that is served: each protocol and seed is a
`shortlist run` of its own, split, trained, indexed and evaluated by the pipeline.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from typing import Any

import serving.process

serving.process.set_up()

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
import tensorflow_datasets as tfds  # noqa: E402

from benchmarks import record, tutorial  # noqa: E402
from benchmarks.run_times import call  # noqa: E402
from pipeline.config import load_config  # noqa: E402
from serving.evaluation import baselines, intervals, metrics  # noqa: E402
from trainer.batches import Interactions  # noqa: E402
from trainer.config import ModelConfig, TrainingConfig  # noqa: E402
from trainer.feature_config import load_features  # noqa: E402
from trainer.fit import fit  # noqa: E402
from trainer.model import Catalogue, TwoTowerModel  # noqa: E402
from trainer.temperature import find_temperature  # noqa: E402

CONFIG = "configs/movielens-100k.yaml"
PROTOCOLS = {
    "P": {"method": "random", "by": "within_query",
          "fractions": {"train": 0.8, "valid": 0.1, "eval": 0.1}},
    "I": {"method": "random", "fractions": {"train": 0.8, "eval": 0.2}},
    "T": {"method": "time", "fractions": {"train": 0.8, "eval": 0.2}},
}  # fmt: skip
ABOUT = {
    "P": "random 8:1:1 within each user, trained on train, train and valid left out of "
    "the lists, whole catalogue ranked; NDCG and recall at 10, mean over users",
    "I": "random 80:20 over all interactions, train left out; top-k accuracy by id, "
    "mean over interactions",
    "T": "the newest fifth of all interactions held out, train left out; the split has "
    "no seed, training has; of cold queries training has seen nothing",
}
FIGURES = {
    "P": ("ndcg@10", "recall@10", "top-10", "top-100"),
    "I": ("top-10", "top-50", "top-100", "ndcg@10"),
    "T": ("top-10", "top-50", "top-100", "ndcg@10"),
}
SYSTEMS = {
    "popularity": "popularity",
    "item_knn": "item-kNN",
    "ials": "iALS",
    "ease": "EASE",
    "index": "Shortlist",
}
STUDENT_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365}
"""Two-sided 95% quantiles of Student's t by number of seeds."""

_TEMPERATURE = 0.25
"""What the recipe finds by itself on MovieLens 100K, give or take .02."""
_BEFORE = {
    "rows": "interaction", "schedule": "constant", "batch_size": 512,
    "uniform_negatives": 0,
}  # fmt: skip
ABLATION: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "the recipe": ({}, {}),
    "128 dimensions": ({"embedding_dim": 128}, {}),
    "64 dimensions": ({"embedding_dim": 64}, {}),
    "no normalisation": ({"normalize": False, "temperature": 1}, {}),
    "no candidate bias": ({"candidate_bias": False}, {}),
    "temperature 0.1": ({"temperature": 0.1}, {}),
    "temperature 0.4": ({"temperature": 0.4}, {}),
    "no history": ({}, {"history_share": 0, "id_dropout": 0}),
    "no cold rows": ({}, {"cold_share": 0}),
    "id never left out": ({}, {"id_dropout": 0}),
    "a query counts its interactions": ({}, {"query_weight": "sum"}),
    "a query counts 1": ({}, {"query_weight": "mean"}),
    "constant learning rate": ({}, {"schedule": "constant"}),
    "60 epochs": ({}, {"epochs": 60}),
    "sampled softmax": ({}, {"softmax": "sampled"}),
    "sampled softmax, no logQ": ({}, {"softmax": "sampled", "logq": "none"}),
    "rows are interactions": ({"embedding_dim": 64, "temperature": 0.3}, _BEFORE),
    "the same, 256 uniform negatives more": (
        {"embedding_dim": 64, "temperature": 0.3},
        {**_BEFORE, "uniform_negatives": 256},
    ),
    "the same, 2,048 queued negatives more": (
        {"embedding_dim": 64, "temperature": 0.3},
        {**_BEFORE, "queued_negatives": 2048, "remove_accidental_hits": True},
    ),
    "the same, streaming logQ": (
        {"embedding_dim": 64, "temperature": 0.3},
        {**_BEFORE, "logq": "streaming"},
    ),
    "the same, 100 hard negatives": (
        {"embedding_dim": 64, "temperature": 0.3},
        {**_BEFORE, "hard_negatives": 100},
    ),
    "the same, no logQ": (
        {"embedding_dim": 64, "temperature": 0.3},
        {**_BEFORE, "logq": "none"},
    ),
}
"""Changes to `model` and `training`, by what a table calls them."""


# The model that is served


def run(protocol: str, seed: int) -> dict[str, Any]:
    """Runs the pipeline with one split and seed; returns what its summary says."""
    split = dict(PROTOCOLS[protocol])
    if split["method"] == "random":
        split["seed"] = seed
    sets = [f"interactions.split={json.dumps(split)}", f"training.seed={seed}"]
    overrides = [part for one in sets for part in ("--set", one)]
    with tempfile.TemporaryDirectory(prefix="shortlist-") as root:
        found = call("run", CONFIG, "--root", root, *overrides, "--format", "json")
    summary = json.loads(found["output"])
    systems = {
        "index": {
            "accuracy": summary["top_k_accuracy_masked"]["scann"],
            "ranking": summary["ranking_masked"]["scann"],
        },
        **{
            name: {
                "accuracy": figures["top_k_accuracy_masked"],
                "ranking": figures["ranking_masked"],
            }
            for name, figures in summary["baselines"].items()
        },
    }
    nodes = {one["node"]: one["seconds"] for one in summary["run"]["nodes"]}
    result = {
        "seed": seed,
        "pushed": summary["pushed_version"] is not None,
        "seconds": summary["run"]["seconds"],
        "trainer_seconds": nodes["Trainer"],
        "systems": {
            name: {
                **{f"top-{k}": value for k, value in found["accuracy"].items()},
                **found["ranking"],
            }
            for name, found in systems.items()
        },
        "differences": summary["intervals"]["differences"],
        "parts": summary["parts"],
        "protocol": summary["protocol"],
        "index_recall": summary["recall_masked"],
    }
    shown = "  ".join(
        f"{name} {figures[FIGURES[protocol][0]]:.4f}"
        for name, figures in result["systems"].items()
    )
    print(f"{protocol}, seed {seed}: {shown}", file=sys.stderr)
    return result


def paired(values: list[float]) -> dict[str, Any]:
    """Sums up one difference a seed: mean, sd, 95% interval of the mean by Student."""
    mean = statistics.mean(values)
    if len(values) == 1:
        return {"mean": mean, "sd": None, "low": None, "high": None}
    sd = statistics.stdev(values)
    half = STUDENT_95[len(values)] * sd / len(values) ** 0.5
    return {"mean": mean, "sd": sd, "low": mean - half, "high": mean + half}


def as_served_table(protocol: str, runs: list[dict[str, Any]]) -> str:
    """Returns one protocol's systems as Markdown, with paired differences."""
    names = FIGURES[protocol]
    rows = []
    for key, label in SYSTEMS.items():
        row = [label]
        for name in names:
            values = [one["systems"][key][name] for one in runs]
            row.append(_mean_sd(values))
        for name in names[:2]:
            row.append("" if key == "index" else _against(runs, key, name))
        rows.append(row)
    header = [f"protocol {protocol}", *names, *(f"ours − it, {n}" for n in names[:2])]
    return record.table(header, rows)


def _against(runs: list[dict[str, Any]], key: str, name: str) -> str:
    systems = [one["systems"] for one in runs]
    found = paired([one["index"][name] - one[key][name] for one in systems])
    if found["low"] is None:
        return f"{found['mean']:+.4f}"
    return f"{found['mean']:+.4f} ({found['low']:+.4f} to {found['high']:+.4f})"


def _mean_sd(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.4f}"
    return f"{statistics.mean(values):.4f} (sd {statistics.stdev(values):.4f})"


def as_parts_table(runs: list[dict[str, Any]]) -> str:
    """Returns warm and cold interactions of one protocol as Markdown, top-100."""
    rows = []
    for part, label in (
        ("warm", "known query and candidate"),
        ("cold_queries", "query never seen"),
        ("cold_candidates", "candidate never seen"),
    ):
        content = [one["parts"][part] for one in runs]
        if not content[0]["interactions"]:
            continue
        row = [label, f"{content[0]['share']:.1%}"]
        for key in SYSTEMS:
            name = "scann" if key == "index" else key
            found = [one["top_k_accuracy_masked"] for one in content]
            row.append(_mean_sd([one[name]["100"] for one in found]))
        rows.append(row)
    header = ["top-100 by part", "share", *SYSTEMS.values()]
    return record.table(header, rows)


# What each part of the recipe adds


def load_positions() -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Reads each interaction's user and movie as positions among sorted ids."""
    config = load_config(CONFIG)

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
    return query, np.searchsorted(catalogue, movies), (len(ids), len(catalogue))


def split_per_user(query: np.ndarray, seed: int) -> tuple[np.ndarray, ...]:
    """Protocol P in memory: train, train and valid, test, as positions."""
    order = np.random.default_rng(seed).permutation(len(query))
    by_user = order[np.argsort(query[order], kind="stable")]
    counts = np.bincount(query)
    place = np.arange(len(by_user)) - np.repeat(np.cumsum(counts) - counts, counts)
    tenth = np.repeat(np.maximum(counts // 10, 1), counts)
    return (
        by_user[place >= 2 * tenth],
        by_user[place >= tenth],
        by_user[place < tenth],
    )


def train(
    query: np.ndarray,
    candidate: np.ndarray,
    shape: tuple[int, int],
    model_config: ModelConfig,
    training: TrainingConfig,
) -> tuple[TwoTowerModel, float]:
    """Trains a recipe on ids alone; returns it and the seconds that it took."""
    tf.keras.utils.set_random_seed(training.seed)
    queries, candidates = shape
    catalogue = Catalogue(
        "movie", load_features({"movie": "id"}), {},
        np.bincount(candidate, minlength=candidates),
    )  # fmt: skip
    data = Interactions({"user": tf.constant(query)}, candidate, query)

    def make(temperature: float) -> TwoTowerModel:
        tf.keras.utils.set_random_seed(training.seed)
        return TwoTowerModel(
            model_config.model_copy(update={"temperature": temperature}),
            training,
            load_features({"user": "id"}),
            {"user": queries},
            catalogue,
            {"movie": candidates},
            "user",
        )

    started = time.perf_counter()
    model = make(find_temperature(make, model_config, training, data))
    with tempfile.TemporaryDirectory(prefix="shortlist-") as folder:
        fit(model, training, data, None, folder)
    return model, time.perf_counter() - started


def ablate(seed: int, names: list[str]) -> dict[str, dict[str, Any]]:
    """Trains each variant on one split; returns NDCG@10 by user and the seconds.

    The temperature is what the recipe finds there, but where it is the variant.
    """
    query, candidate, shape = load_positions()
    chosen, seen, test = split_per_user(query, seed)
    masked = baselines.interaction_matrix(query[seen], candidate[seen], shape)
    found = {}
    for name in names:
        model_changes, changes = ABLATION[name]
        training = TrainingConfig(**{"seed": seed, "checkpoint": False, **changes})
        model, seconds = train(
            query[chosen], candidate[chosen], shape,
            ModelConfig(**{"temperature": _TEMPERATURE, **model_changes}), training,
        )  # fmt: skip
        users = model.query_tower({"user": tf.range(shape[0], dtype=tf.int64)})
        lists = metrics.exact_top_k(users.numpy(), model.embed_catalogue(), 10, masked)[
            1
        ]
        figures = metrics.per_query_metrics(lists, query[test], candidate[test], 10)
        found[name] = {
            "ndcg@10": figures["ndcg"],
            "recall@10": figures["recall"],
            "users": metrics.evaluated_queries(query[test]),
            "seconds": seconds,
        }
        print(f"ablation, seed {seed}: {name} {figures['ndcg'].mean():.4f}, "
              f"{seconds:.1f} s", file=sys.stderr)  # fmt: skip
    return found


def sum_up_ablation(runs: list[dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """Returns each variant's means by seed and its paired difference to the recipe."""
    users = np.concatenate([next(iter(one.values()))["users"] for one in runs])
    summary = {}
    whole = np.concatenate([one["the recipe"]["ndcg@10"] for one in runs])
    for name in runs[0]:
        own = np.concatenate([one[name]["ndcg@10"] for one in runs])
        interval = intervals.paired_bootstrap_difference(own, whole, users)
        summary[name] = {
            "ndcg@10": [float(one[name]["ndcg@10"].mean()) for one in runs],
            "recall@10": [float(one[name]["recall@10"].mean()) for one in runs],
            "seconds": [round(one[name]["seconds"], 1) for one in runs],
            "difference": float((own - whole).mean()),
            "difference_95": [round(end, 6) for end in interval],
        }
    return summary


def as_ablation_table(summary: dict[str, Any]) -> str:
    """Returns what each change does as Markdown."""
    rows = [
        [
            name,
            _mean_sd(found["ndcg@10"]),
            _mean_sd(found["recall@10"]),
            ""
            if name == "the recipe"
            else "{:+.4f} ({:+.4f} to {:+.4f})".format(
                found["difference"], *found["difference_95"]
            ),
            f"{statistics.median(found['seconds']):.1f} s",
        ]
        for name, found in summary.items()
    ]
    header = ["protocol P", "ndcg@10", "recall@10", "it − the recipe, ndcg@10", "fit"]
    return record.table(header, rows)


# What it costs


def measure_cost(seeds: list[int]) -> dict[str, Any]:
    """Times training on all interactions, ours and the tutorial's loop in turn."""
    query, candidate, shape = load_positions()
    ratings = tutorial.load(load_config(CONFIG).data_dir)
    seconds: dict[str, list[float]] = {"whole": [], "given": [], "tutorial": []}
    for seed in seeds:
        training = TrainingConfig(checkpoint=False, seed=seed)
        for name, temperature in (("whole", None), ("given", _TEMPERATURE)):
            recipe = ModelConfig(temperature=temperature)
            seconds[name].append(train(query, candidate, shape, recipe, training)[1])
        theirs = tutorial.train_tutorial(ratings, seed, _TUTORIAL_EPOCHS)
        seconds["tutorial"].append(theirs[1])
    epochs = training.epochs_of(shape[0])
    return {
        "seconds": seconds,
        "interactions": {"given": len(query) * epochs,
                         "tutorial": len(ratings.train) * _TUTORIAL_EPOCHS},
    }  # fmt: skip


_TUTORIAL_EPOCHS = 30
"""It trains for 3, of which the first would be mostly TensorFlow's tracing."""


def as_cost_table(cost: dict[str, Any]) -> str:
    """Returns training times, and interactions a second in all epochs, as Markdown."""
    rows = []
    for name, label in (
        ("whole", "the recipe, with what finds its temperature"),
        ("given", "the recipe, at a given temperature"),
        ("tutorial", f"the tutorial's loop, {_TUTORIAL_EPOCHS} epochs"),
    ):
        seconds = statistics.median(cost["seconds"][name])
        trained = cost["interactions"].get(name)
        speed = f"{trained / seconds:,.0f}" if trained else ""
        rows.append([label, f"{seconds:.1f} s", speed])
    return record.table(["training", "time", "interactions/s"], rows)


# All of it


def as_tables(content: dict[str, Any]) -> str:
    """Returns the results as Markdown."""
    parts = [as_served_table(name, runs) for name, runs in content["served"].items()]
    if "T" in content["served"]:
        parts.append(as_parts_table(content["served"]["T"]))
    if content["ablation"]:
        parts.append(as_ablation_table(content["ablation"]))
    if content["cost"]:
        parts.append(as_cost_table(content["cost"]))
    return "\n\n".join(parts)


def measure_all(options: argparse.Namespace) -> dict[str, Any]:
    """Measures everything that is asked for; returns what the results file holds."""
    about = record.about("quality")
    config = load_config(CONFIG)
    earlier = record.read(options.out) if options.out.exists() else {}
    content = {
        **about,
        "protocol": ABOUT,
        "seeds": dict(earlier.get("seeds", {})),
        "seeds_of": "split (but of protocol T), initial weights and shuffling",
        "recipe": {
            "model": config.model.model_dump(),
            "training": config.training.model_dump(),
        },
        "baselines": "one setting each, named in serving/evaluation/baselines.py",
        "served": dict(earlier.get("served", {})),
        "ablation": earlier.get("ablation"),
        "cost": earlier.get("cost"),
    }
    for part in options.parts:
        if part == "ablation":
            runs = [ablate(seed, list(ABLATION)) for seed in options.seeds]
            content["ablation"] = sum_up_ablation(runs)
        elif part == "cost":
            content["cost"] = measure_cost(options.seeds)
        else:
            content["served"][part] = [run(part, seed) for seed in options.seeds]
        content["seeds"][part] = options.seeds
        record.write(options.out, content)
    return content


def main() -> None:
    """Measures, unless it is only to show, and prints the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=[*PROTOCOLS, "ablation", "cost"],
        default=[*PROTOCOLS, "ablation", "cost"],
        metavar="PART",
        help="protocols P, I and T, ablation, cost (default: all); what a results file "
        "has of other parts is kept",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=[42, 43, 44, 45, 46],
        help="of split and training (default: %(default)s)",
    )
    record.add_arguments(parser, "quality")
    options = parser.parse_args()
    if not options.show:
        measure_all(options)
    print(as_tables(record.read(options.out)))


if __name__ == "__main__":
    main()
