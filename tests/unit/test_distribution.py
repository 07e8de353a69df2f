# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Several devices and several processes train what one device trains."""

import json
import pathlib
import subprocess

import numpy as np
import pytest
import tensorflow as tf

from serving.errors import UserError
from tests.unit.training import interactions, train
from tests.workers import finish, start, tf_configs
from trainer.distribution import is_chief, make_strategy

PROGRAM = """
import json, sys
import numpy as np
import serving.process
import tensorflow as tf
kind, folder, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
if kind == "mirrored":
    cpu = tf.config.list_physical_devices("CPU")[0]
    halves = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, halves)
from trainer.distribution import is_chief, make_strategy
if kind == "mirrored":
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
else:
    strategy = make_strategy(kind)
assert strategy.num_replicas_in_sync == 2
from tests.unit.training import interactions, train
from tests.workers import finish, start, tf_configs
name = "chief" if is_chief(strategy) else "other"
with strategy.scope():
    trained, history = train(
        folder + "/" + name, interactions(5, 50), folder + "/checkpoints", **options
    )
np.savez(
    folder + "/" + name + ".npz", *trained.get_weights(), history=json.dumps(history)
)
"""
# 400 interactions: batches of 57 are cut unevenly, and the last has one row.
OPTIONS = {
    "optimizer": "lazy_adam",
    "epochs": 4,
    "batch_size": 57,
    "steps_per_execution": 5,
    "learning_rate": 0.02,
    "gradient_clip_norm": 20.0,
    "weight_decay": 0.01,
    "ema": 0.5,
}


KINDS = {
    "interactions": OPTIONS,
    # Its clipping goes by the rows of a table as often as they are looked up, and each
    # device looks up the queue.
    "streaming": {
        **OPTIONS, "logq": "streaming", "queued_negatives": 50,
        "gradient_clip_norm": None,
    },
    # 30 queries: batches of 7 are cut unevenly, and the last has two rows.
    "queries": {**OPTIONS, "rows": "query", "batch_size": 7},
    "sampled": {
        **OPTIONS, "rows": "query", "batch_size": 7, "softmax": "sampled",
        "uniform_negatives": 4,
    },
}  # fmt: skip


def start_kind(
    kind: str, folder: pathlib.Path, options: dict, **variables: str
) -> subprocess.Popen:
    return start(PROGRAM, kind, str(folder), json.dumps(options), **variables)


def assert_same(path: pathlib.Path, options: dict) -> None:
    """Compares with the weights and the history of one device."""
    trained, history = train(path.parent / "one", interactions(5, 50), **options)
    weights = trained.get_weights()
    result = np.load(path)
    found = json.loads(result["history"].item())
    np.testing.assert_allclose(found["loss"], history["loss"], rtol=1e-5)
    assert len(weights) + 1 == len(result.files)
    for at, expected in enumerate(weights):
        np.testing.assert_allclose(result[f"arr_{at}"], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_two_devices_train_what_one_trains(tmp_path, kind):
    finish(start_kind("mirrored", tmp_path, KINDS[kind]))
    assert_same(tmp_path / "chief.npz", KINDS[kind])


def test_two_processes_train_what_one_trains(tmp_path):
    options = KINDS["sampled"]
    finish(
        *(
            start_kind("multi_worker", tmp_path, options, TF_CONFIG=task)
            for task in tf_configs(2)
        )
    )
    assert_same(tmp_path / "chief.npz", options)
    assert_same(tmp_path / "other.npz", options)
    assert list((tmp_path / "chief").rglob("events.out.tfevents.*"))
    assert not (tmp_path / "other").exists()
    kept = [path.name for path in (tmp_path / "checkpoints").glob("*.index")]
    assert kept == ["ckpt-4.index"]


def test_none_is_one_device():
    strategy = make_strategy("none")
    assert strategy.num_replicas_in_sync == 1 and is_chief(strategy)


def test_workers_must_be_named(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(UserError) as caught:
        make_strategy("multi_worker")
    assert str(caught.value) == (
        "training.distribution: multi_worker needs TF_CONFIG to name the workers and "
        "which of them this is; set it where the Trainer runs, or choose mirrored or "
        "none"
    )


def test_workers_need_a_process_that_has_done_nothing_else(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", tf_configs(2)[0])
    tf.constant(1)
    with pytest.raises(UserError) as caught:
        make_strategy("multi_worker")
    assert str(caught.value) == (
        "training.distribution: multi_worker needs a process of its own for Trainer, "
        "as on Kubeflow or Vertex, and TensorFlow is at work in this one already; "
        "choose mirrored or none here"
    )
