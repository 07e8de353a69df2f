# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""`shortlist`: parses the verb and its options, and turns errors into exit codes."""

import argparse
import importlib
import os
import sys

import serving.process
from serving import s3
from serving.errors import UserError, WrongUseError

VERBS = {
    "init": "look at files and write a config for them",
    "run": "run a pipeline on this machine",
    "update": "bring a pushed model up to date with its catalogue, train nothing",
    "compile": "write a pipeline as Kubeflow Pipelines and Vertex AI run it",
    "submit": "run a pipeline on Kubeflow Pipelines or Vertex AI",
    "metrics": "show the last run's evaluation",
    "recommend": "ask a pushed model for recommendations",
    "serve": "serve pushed models by REST and gRPC, as TensorFlow Serving does",
    "lineage": "show what a pushed version was made of",
    "models": "list, promote, roll back and compare registered models",
    "tune": "find the cheapest index that reaches a recall",
    "bench": "compare ways to search, as the TFRS tutorial does, at any size",
    "synth": "make a synthetic log of any size, and a config that runs it",
    "doctor": "check versions, CPU and ScaNN, and say how to mend them",
}
FAILED = 1
WRONG_USE = 2


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of all verbs; the verbs' heavy imports come later."""
    parser = argparse.ArgumentParser(
        prog="shortlist",
        description="Retrieval for recommenders: from a log of interactions to a model "
        "that picks the best few hundred candidates in milliseconds.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, help_text in VERBS.items():
        verb = verbs.add_parser(name, help=help_text, description=help_text + ".")
        importlib.import_module(f"pipeline.cli.{name}").add_arguments(verb)
        verb.add_argument(
            "--verbose",
            action="store_true",
            help="let TensorFlow, TFX and Beam say all they have to say",
        )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Runs one verb.

    Args:
      arguments: Without the program's name; by default those of the process.

    Returns:
      0, 1 where something failed, 2 where the command was wrong.
    """
    options = make_parser().parse_args(arguments)
    serving.process.set_up(options.verbose)
    verb = importlib.import_module(f"pipeline.cli.{options.verb}")
    try:
        s3.register_where_named(*map(str, vars(options).values()))
        code = verb.execute(options)
        # Here and not at exit, where a reader that went away can't be caught.
        sys.stdout.flush()
        return code
    except UserError as error:
        print(f"shortlist {options.verb}: {error}", file=sys.stderr)
        return WRONG_USE if isinstance(error, WrongUseError) else FAILED
    except BrokenPipeError:
        # Whoever read our output has had enough; what is left must not be flushed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        print(f"shortlist {options.verb}: interrupted", file=sys.stderr)
        return 130
