# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Executor of RecipeTuner: searches, and writes the best recipe and all trials."""

from typing import Any

import keras_tuner
from tfx import types
from tfx.components.trainer import fn_args_utils
from tfx.components.tuner import executor
from tfx.types import standard_component_specs

from components.trainer.executor import add_inputs, state_dir
from serving.errors import UserError
from trainer.inputs import STATE_DIR, delete_state
from trainer.tuner import tuner_fn


class Executor(executor.Executor):
    """TFX's own, whose tuner_fn finds our extra inputs in its custom config."""

    def Do(  # noqa: N802  (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Searches.

        Args:
            input_dict: `examples`, `transform_graph`, `candidates` and
                `candidate_transform_graph`.
            output_dict: `best_hyperparameters` (HyperParameters) and `tuner_results`
                (TunerResults).
            exec_properties: `train_args`, `eval_args` and `custom_config`.

        Raises:
            UserError: No recipe could be trained.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        fn_args = fn_args_utils.get_common_fn_args(input_dict, exec_properties)
        add_inputs(fn_args.custom_config, fn_args.eval_files, input_dict)
        results = output_dict[standard_component_specs.TUNER_RESULTS_KEY]
        fn_args.custom_config[STATE_DIR] = state_dir(self._context, results)
        search = tuner_fn(fn_args)
        try:
            search.tuner.search(**search.fit_kwargs)
        except keras_tuner.errors.FatalError as error:
            raise error.__cause__ or error from None
        if search.tuner.best_score is None:
            raise UserError(
                f"none of the {len(search.tuner.oracle.trials)} recipes of tuner.space "
                f"could be trained, the last because {search.tuner.failure}"
            )
        executor.write_best_hyperparameters(search.tuner, output_dict)
        delete_state(fn_args)
