# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""`shortlist compile`: a pipeline as a file that Kubeflow or Vertex runs."""

import argparse
from typing import TYPE_CHECKING, Any

import serving.process
from pipeline.cli import options as shared
from serving.errors import UserError

if TYPE_CHECKING:
    from pipeline.config import PipelineConfig
    from pipeline.layout import Layout


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    shared.add_config(parser)
    shared.add_containers(parser)
    parser.add_argument(
        "-o",
        "--out",
        default="pipeline.json",
        metavar="FILE",
        help="the compiled pipeline; for Kubeflow also .yaml (default: %(default)s)",
    )


def execute(options: argparse.Namespace) -> int:
    """Compiles the pipeline."""
    config = shared.read_config(options.config, options.overrides)
    layout, job = compile_job(config, options)
    from pipeline.runners import containers

    try:
        containers.write(job, options.out, options.runner)
    except OSError as error:
        raise UserError(
            f"can't write {options.out}: {error.strerror}; choose another --out"
        ) from None
    spec = job["pipelineSpec"]
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    print(
        f"{options.out}: {len(spec['root']['dag']['tasks'])} nodes for "
        f"{options.runner}, artifacts in {layout.artifacts}"
    )
    for name, parameter in sorted(parameters.items()):
        print(f"  {name} = {parameter.get('defaultValue')!r}")
    return 0


def compile_job(
    config: "PipelineConfig", options: argparse.Namespace
) -> tuple["Layout", dict[str, Any]]:
    """Returns where a pipeline goes, and what it is compiled to."""
    from pipeline.layout import Layout

    layout = Layout(shared.absolute_root(options.root), config.name)
    with serving.process.quiet_imports(options.verbose):
        from pipeline.runners import containers
    return layout, containers.compile_pipeline(
        config, layout, options.runner, options.update
    )
