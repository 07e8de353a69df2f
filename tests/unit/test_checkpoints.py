# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""A training that was killed goes on to the same result."""

import json
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from serving.errors import UserError
from serving.process import child_environment
from tests.unit.training import contrary, train
from trainer.checkpoints import digest, kept_figure
from trainer.fit import VALID_ACCURACY

PROGRAM = """
import json, sys
import numpy as np
from tests.unit.training import contrary, train
folder, options = sys.argv[1], json.loads(sys.argv[2])
trained, history = train(folder, contrary(5), folder + "/checkpoints", **options)
np.savez(folder + "/result.npz", *trained.get_weights(), history=json.dumps(history))
"""
EPOCHS = 60
OPTIONS = {
    "optimizer": "lazy_adam",
    "schedule": "cosine",
    "warmup": 0.2,
    "ema": 0.9,
    "epochs": EPOCHS,
    "early_stopping_patience": EPOCHS,  # never reached: the best is found before
    "learning_rate": 0.02,
}


def start(folder: pathlib.Path) -> subprocess.Popen:
    arguments = [sys.executable, "-c", PROGRAM, str(folder), json.dumps(OPTIONS)]
    return subprocess.Popen(
        arguments, env=child_environment(), stderr=subprocess.PIPE, text=True
    )


def epochs_kept(folder: pathlib.Path) -> int:
    latest = tf.train.latest_checkpoint(str(folder / "checkpoints"))
    return int(latest.rpartition("-")[2]) if latest else 0


def kill_after(process: subprocess.Popen, folder: pathlib.Path, epochs: int) -> None:
    """Kills a training in the midst of whatever it does after some epochs."""
    deadline = time.monotonic() + 120
    while epochs_kept(folder) < epochs:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_killed_training_goes_on_to_the_same_result(tmp_path):
    kill_after(start(tmp_path), tmp_path, 10)
    kept = epochs_kept(tmp_path)
    assert 10 <= kept < EPOCHS and not (tmp_path / "result.npz").exists()
    again = start(tmp_path)
    assert again.wait(120) == 0, again.communicate()[1]
    result = np.load(tmp_path / "result.npz")
    expected, history = train(tmp_path / "other", contrary(5), **OPTIONS)
    found = json.loads(result["history"].item())
    assert len(found["loss"]) == EPOCHS
    np.testing.assert_allclose(found["loss"], history["loss"], rtol=1e-4)
    watched = history[VALID_ACCURACY]
    assert int(np.argmax(watched)) < 10, "the best must be found before the kill"
    assert found[VALID_ACCURACY][:10] == watched[:10]
    for at, weights in enumerate(expected.get_weights()):
        np.testing.assert_allclose(result[f"arr_{at}"], weights, rtol=1e-3, atol=1e-5)


def test_only_the_last_checkpoint_is_kept_and_only_if_asked_for(tmp_path):
    train(tmp_path, checkpoints=str(tmp_path / "kept"), epochs=3)
    assert [path.name for path in (tmp_path / "kept").glob("*.index")] == [
        "ckpt-3.index"
    ]
    train(tmp_path, checkpoints=str(tmp_path / "none"), epochs=3, checkpoint=False)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("stopped", [True, False])
@pytest.mark.parametrize("ema", [0, 0.5])
def test_a_training_that_had_ended_is_not_trained_further(tmp_path, stopped, ema):
    options = {"epochs": 30, "learning_rate": 0.02, "checkpoints": str(tmp_path / "c")}
    options["ema"] = ema
    if stopped:
        options["early_stopping_patience"] = 3
    first, history = train(tmp_path, contrary(5), **options)
    assert (len(history["loss"]) < 30) == stopped
    again, found = train(tmp_path, contrary(5), **options)
    assert found == history
    for ours, theirs in zip(again.get_weights(), first.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("ema", [0, 0.5])
def test_early_stopping_counts_on_where_it_was(tmp_path, ema):
    options = {"early_stopping_patience": 4, "learning_rate": 0.02, "ema": ema}
    whole, history = train(tmp_path, contrary(5), epochs=60, **options)
    options["checkpoints"] = str(tmp_path / "c")
    epochs = len(history["loss"])
    assert 4 < epochs < 60
    train(tmp_path, contrary(5), epochs=epochs - 2, **options)
    again, found = train(tmp_path, contrary(5), epochs=60, **options)
    assert len(found["loss"]) == epochs
    np.testing.assert_allclose(found["loss"], history["loss"], rtol=1e-5)
    for ours, theirs in zip(again.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


def test_a_loss_that_is_no_number_ends_the_training_and_is_not_kept(tmp_path):
    for _ in range(2):
        with pytest.raises(UserError, match="the training diverged"):
            train(tmp_path, checkpoints=str(tmp_path / "c"), learning_rate=1e38)
    assert not list(tmp_path.glob("c/*"))


def test_other_inputs_have_other_checkpoints():
    config = {"training": {"epochs": 3, "seed": 1}, "model": {"embedding_dim": 8}}
    same = {"model": {"embedding_dim": 8}, "training": {"seed": 1, "epochs": 3}}
    other = {**config, "training": {"epochs": 4, "seed": 1}}
    assert digest([config, "a"]) == digest([same, "a"])
    assert digest([config, "a"]) != digest([config, "b"])
    assert digest([config, "a"]) != digest([other, "a"])


def test_a_figure_is_found_once(tmp_path):
    found = iter([0.1 + 0.2, 7.0, 8.0, 9.0])
    file = str(tmp_path / "new" / "temperature")
    assert kept_figure(file, lambda: next(found), is_kept=False) == 0.1 + 0.2
    assert kept_figure(file, lambda: next(found), is_kept=True) == 7.0
    assert kept_figure(file, lambda: next(found), is_kept=True) == 7.0
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["temperature"]
