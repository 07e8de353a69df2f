# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What a container of a compiled pipeline runs: one node, by TFX's entry point."""

import re
import runpy
import sys
import traceback
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


_FORBIDDEN = re.compile(r"response code 403|permission ?denied|access ?denied", re.I)
"""What clients of buckets say of a refusal, each in its own words."""
_PATH = re.compile(r"\b(?:gs|s3)://[^\s'\",;)]+")


def refusal(error: BaseException) -> str | None:
    """Says what to do where a bucket has refused the node, None for other errors."""
    text = str(error)
    paths = _PATH.findall(text)
    if not paths or not _FORBIDDEN.search(text):
        return None
    return (
        f"{paths[0]} may not be read or written by this node: let the account that it "
        "runs as list, read, create and delete objects there"
    )


def main() -> None:
    """Runs the node that the command line names."""
    import tensorflow as tf  # TFX would in any case

    sys.argv[1:] = prepared(sys.argv[1:])
    try:
        runpy.run_module(TFX_ENTRY_POINT, run_name="__main__", alter_sys=True)
    # What clients of buckets raise, and Beam where one of its workers has.
    except (OSError, RuntimeError, tf.errors.OpError) as error:
        sentence = refusal(error)
        if sentence is None:
            raise
        traceback.print_exc()
        sys.exit(sentence)


if __name__ == "__main__":
    main()
