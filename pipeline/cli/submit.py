# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""`shortlist submit`: runs a pipeline on Kubeflow Pipelines or Vertex AI."""

import argparse
import json
from typing import Any

import serving.process
from pipeline.cli import compile as compiling
from pipeline.cli import options as shared
from serving.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    shared.add_config(parser)
    shared.add_containers(parser)
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="parameters",
        help="a parameter of the run, which 'shortlist compile' lists, e.g. --param "
        "until=2026-11-25; repeatable",
    )
    shared.add_format(parser)


def execute(options: argparse.Namespace) -> int:
    """Compiles the pipeline and asks for a run."""
    config = shared.read_config(options.config, options.overrides)
    layout, job = compiling.compile_job(config, options)
    parameters = _parameters(options.parameters, job["pipelineSpec"])
    with serving.process.quiet_imports(options.verbose):
        if options.runner == "vertex":
            from pipeline.runners import vertex

            run = vertex.submit(config, job, parameters, layout)
        else:
            from pipeline.runners import kubeflow

            run = kubeflow.submit(config, job, parameters, layout)
    if options.format == "json":
        print(json.dumps(run._asdict(), indent=2))
    else:
        print(f"submitted {config.name} as {run.run_id}\n{run.url}")
    return 0


def _parameters(given: list[str], spec: dict[str, Any]) -> dict[str, Any]:
    """Reads parameters of a run, each as the type that it has.

    Raises:
      UserError: There is no such parameter, or it can't be read.
    """
    known = spec["root"]["inputDefinitions"]["parameters"]
    values: dict[str, Any] = {}
    for one in given:
        name, separator, text = one.partition("=")
        if not separator or name not in known:
            raise UserError(
                f"--param {one}: give NAME=VALUE, where NAME is one of "
                f"{', '.join(sorted(known))}"
            )
        try:
            is_text = known[name]["parameterType"] == "STRING"
            values[name] = text if is_text else float(text)
        except ValueError:
            raise UserError(f"--param {one}: {name} is a number") from None
    return values
