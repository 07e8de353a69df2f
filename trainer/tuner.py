# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The search for a better recipe: the tuner_fn that TFX's Tuner calls.

Trials are KerasTuner's, by a Gaussian process (Bayesian optimisation), because what it
finds is what TFX hands on from Tuner to Trainer, in an artifact with its lineage.
"""

import contextlib
import json
import logging
import os
import sys
import time
import warnings
from typing import Any

import keras_tuner
import pydantic
import tensorflow as tf
from keras_tuner.engine import base_tuner
from sklearn.exceptions import ConvergenceWarning

from serving.errors import UserError
from trainer.batches import Interactions
from trainer.checkpoints import kept_figure
from trainer.config import ModelConfig, TrainingConfig
from trainer.distribution import make_strategy
from trainer.fit import DivergedError, fit
from trainer.inputs import FnArgs, Inputs, read_inputs, state_folder
from trainer.temperature import find_temperature, held_out_ndcg
from trainer.tuner_config import Range, Space, TunerConfig, changed, space_of

_SCORE = "ndcg"
_TEMPERATURE = "model.temperature"
_RANDOM = 1
"""Random trials a key before the Gaussian process takes over."""

_log = logging.getLogger(__name__)


class GivenFirst(keras_tuner.oracles.BayesianOptimizationOracle):
    """Bayesian optimisation that begins with the recipe that is given."""

    def __init__(self, first: dict[str, Any], **kwargs: Any):
        """Remembers its values, by name, as trials have them."""
        self._first = first
        super().__init__(**kwargs)

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns the values of the next trial, in KerasTuner's form."""
        if self.start_order:
            with warnings.catch_warnings():
                # That a length scale is at its bound: a key that makes no difference.
                warnings.simplefilter("ignore", ConvergenceWarning)
                chosen = super().populate_space(trial_id)
            if chosen["values"] and self._duplicate(chosen["values"]):
                return self._random_populate_space()  # or the end, if all are tried
            return chosen
        return {
            "status": keras_tuner.engine.trial.TrialStatus.RUNNING,
            "values": dict(self._first),
        }


class RecipeTuner(base_tuner.BaseTuner):
    """Trains a recipe a trial and scores it on the valid split."""

    def __init__(
        self,
        oracle: keras_tuner.Oracle,
        inputs: Inputs,
        valid: Interactions,
        recipe: tuple[ModelConfig, TrainingConfig],
        config: TunerConfig,
        folder: str,
    ):
        """Makes a search, which goes on where a killed one in the folder was left.

        Args:
          oracle: What chooses the values of a trial.
          inputs: What to train on.
          valid: The split that it is scored on.
          recipe: What trials change.
          config: Its budget.
          folder: Where its state goes.
        """
        with contextlib.redirect_stdout(sys.stderr):  # it prints that it goes on
            super().__init__(oracle, directory=folder, project_name="trials")
        self._inputs, self._valid = inputs, valid
        self._recipe, self._config = recipe, config
        self._strategy = tf.distribute.get_strategy()
        self.failure = ""
        """Why the last trial that failed did."""

    def on_search_begin(self) -> None:
        """Starts the clock."""
        self._started = time.monotonic()
        if self.oracle.trials:
            _log.info("the search goes on after %d trials", len(self.oracle.trials))

    def run_trial(
        self, trial: keras_tuner.engine.trial.Trial, *_: Any, **__: Any
    ) -> dict[str, float]:
        """Trains and scores; a recipe that can't be trained fails, all else stops."""
        try:
            return {_SCORE: self._score(trial.hyperparameters.values)}
        except (DivergedError, pydantic.ValidationError) as error:
            self.failure = " ".join(str(error).split())
            raise keras_tuner.errors.FailedTrialError(str(error)) from error
        except Exception as error:
            # KerasTuner would go on with the next trial.
            raise keras_tuner.errors.FatalError(str(error)) from error

    def _score(self, values: dict[str, Any]) -> float:
        recipe, training = changed(*self._recipe, values)
        # A trial is not resumed, the search is.
        training = training.model_copy(update={"checkpoint": False})
        inputs, make = self._inputs, self._inputs.maker(recipe, training)
        with self._strategy.scope():
            model = make(find_temperature(make, recipe, training, inputs.train))
            fit(model, training, inputs.train, self._valid, None)
        return held_out_ndcg(model, inputs.train, self._valid, self._config.k)

    @property
    def best_score(self) -> float | None:
        """Returns the highest NDCG so far, None if no trial has one."""
        return max(
            (one.score for one in self.oracle.trials.values() if one.score is not None),
            default=None,
        )

    def on_trial_end(self, trial: keras_tuner.engine.trial.Trial) -> None:
        """Says what a trial has shown, and ends the search when its time is over."""
        super().on_trial_end(trial)
        number, best = len(self.oracle.trials), self.best_score
        shown = ", ".join(
            f"{key}: {value:.4g}" if isinstance(value, float) else f"{key}: {value}"
            for key, value in trial.hyperparameters.values.items()
        )
        scored = "failed" if trial.score is None else f"{trial.score:.4f}"
        _log.info(
            "trial %d of %d: NDCG@%d %s, best %s (%s)",
            number, self._config.trials, self._config.k, scored,
            "none" if best is None else f"{best:.4f}", shown,
        )  # fmt: skip
        minutes = self._config.minutes
        if minutes and time.monotonic() - self._started > 60 * minutes:
            _log.info("the %g minutes of tuner.minutes are over", minutes)
            self.oracle.max_trials = number


def tuner_fn(fn_args: FnArgs) -> Any:
    """Makes the search that TFX's Tuner runs.

    Args:
      fn_args: As the run_fn has them; the custom config also holds `tuner`.

    Returns:
      TFX's TunerFnResult: the tuner, and what its `search` gets.
    """
    from tfx.components.tuner.component import TunerFnResult

    config = fn_args.custom_config
    recipe = ModelConfig(**config["model"])
    training = TrainingConfig(**config["training"])
    strategy = make_strategy(training.distribution)
    inputs, folder = read_inputs(fn_args), state_folder(fn_args)
    with strategy.scope():
        tuner = make_tuner(
            inputs, recipe, training, TunerConfig(**config["tuner"]), folder
        )
    return TunerFnResult(tuner=tuner, fit_kwargs={"verbose": 0})


def make_tuner(
    inputs: Inputs,
    recipe: ModelConfig,
    training: TrainingConfig,
    config: TunerConfig,
    folder: str,
) -> RecipeTuner:
    """Makes a search, in the strategy that is entered.

    Args:
      inputs: What to train on, with a valid split.
      recipe: The towers.
      training: How they are fitted.
      config: What to try, and for how long.
      folder: Where its state goes, for a search after a kill to go on with.

    Raises:
      UserError: There is no valid split.
    """
    if inputs.valid is None:
        raise UserError(
            "tuner.trials needs a split to choose by; give "
            "interactions.split.fractions a share for 'valid' or set it to 0"
        )
    space = space_of(config, recipe, training)
    if _TEMPERATURE in space and recipe.temperature is None:
        make = inputs.maker(recipe, training)
        found = kept_figure(
            os.path.join(folder, "temperature"),
            lambda: find_temperature(make, recipe, training, inputs.train),
            is_kept=True,
        )
        recipe = recipe.model_copy(update={"temperature": found})
        space = space_of(config, recipe, training)
    names = keras_tuner.HyperParameters()
    for key, tried in space.items():
        _declare(names, key, tried)
    oracle = GivenFirst(
        _values_of(recipe, training, space),
        objective=keras_tuner.Objective(_SCORE, "max"),
        max_trials=config.trials,
        max_consecutive_failed_trials=config.trials + 1,  # never ends it
        num_initial_points=_RANDOM * len(space),
        hyperparameters=names,
        allow_new_entries=False,
        tune_new_entries=False,
        seed=training.seed + 1,  # it takes 0 for none
    )
    return RecipeTuner(oracle, inputs, inputs.valid, (recipe, training), config, folder)


def _declare(
    names: keras_tuner.HyperParameters, key: str, tried: Range | list[Any]
) -> None:
    """Tells KerasTuner what to try for a key."""
    if isinstance(tried, list):
        names.Choice(key, [json.dumps(one) for one in tried], ordered=False)
        return
    kind = names.Int if tried.whole else names.Float
    kind(key, tried.low, tried.high, sampling="log" if tried.log else "linear")


def _values_of(
    recipe: ModelConfig, training: TrainingConfig, space: Space
) -> dict[str, Any]:
    """Returns the values of a recipe, as trials have them."""
    parts = {"model": recipe.model_dump(), "training": training.model_dump()}
    values = {}
    for key, tried in space.items():
        section, name = key.split(".", 1)
        own = parts[section][name]
        values[key] = json.dumps(own) if isinstance(tried, list) else own
    return values
