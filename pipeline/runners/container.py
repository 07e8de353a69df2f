# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What a container of a compiled pipeline runs: one node, by TFX's entry point."""

import runpy
import sys
from collections.abc import Sequence

from serving import s3

TFX_ENTRY_POINT = "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor"
_START = """\
import importlib.util, runpy, sys
try:
    found = importlib.util.find_spec("pipeline.runners.container")
except ModuleNotFoundError:
    found = None
if found is None:
    sys.exit("this image has no Shortlist in it: build docker/pipeline.Dockerfile, "
             "push it, and name it as containers.image")
runpy.run_module("pipeline.runners.container", run_name="__main__", alter_sys=True)
"""
COMMAND = ["python", "-c", _START]
"""Of each container. It is of the pipeline's, not of the image's, so that an image
without this module is told."""


def prepared(arguments: Sequence[str]) -> list[str]:
    """Returns the arguments of TFX's entry point, once the process is ready for them.

    Raises:
      UserError: They name what this image can't read.
    """
    if not s3.is_named(*arguments):
        return list(arguments)
    s3.register()
    return [*arguments, s3.BEAM_PLUGIN]


def main() -> None:
    """Runs the node that the command line names."""
    sys.argv[1:] = prepared(sys.argv[1:])
    runpy.run_module(TFX_ENTRY_POINT, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
