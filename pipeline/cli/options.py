# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Options that several verbs share."""

import argparse
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from serving import folders
from serving.errors import UserError, WrongUseError

if TYPE_CHECKING:
    from pipeline.config import PipelineConfig
    from serving.registry.config import RegistryConfig


def add_config(parser: argparse.ArgumentParser) -> None:
    """Adds the config and --set."""
    parser.add_argument("config", help="YAML file, e.g. configs/movielens-100k.yaml")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY.PATH=VALUE",
        dest="overrides",
        help="override a config value, e.g. --set training.epochs=4; repeatable",
    )


def read_config(
    path: str, overrides: Sequence[str] = (), check_sources: bool = False
) -> "PipelineConfig":
    """Reads a config as `pipeline.config.load_config` does.

    Raises:
      WrongUseError: It can't be used, or a file that it names is not there.
    """
    from pipeline.config import load_config

    try:
        return load_config(path, list(overrides), check_sources)
    except UserError as error:
        raise WrongUseError(str(error)) from None


def add_containers(parser: argparse.ArgumentParser) -> None:
    """Adds what says where nodes run that are containers."""
    parser.add_argument(
        "--runner",
        required=True,
        choices=("kubeflow", "vertex"),
        help="what runs the pipeline: Kubeflow Pipelines or Vertex AI",
    )
    parser.add_argument(
        "--root",
        required=True,
        metavar="DIR",
        help="folder of all pipelines' runs, which the nodes can reach, such as "
        "gs://bucket/runs",
    )
    parser.add_argument(
        "--update",
        action="store_true",
        help="bring the last pushed model up to date with its catalogue, train nothing",
    )


def absolute_root(root: str) -> str:
    """Returns a root that does not depend on the working folder."""
    return root if "://" in root else os.path.abspath(root)


def add_registry(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Adds what says which registry is asked."""
    parser.add_argument(
        "--registry",
        required=required,
        metavar="URL",
        help="the model registry: the address of an MLflow server, or "
        "vertex:PROJECT/REGION",
    )


def registry_config(options: argparse.Namespace) -> "RegistryConfig":
    """Reads --registry."""
    from serving.registry.config import RegistryConfig, VertexRegistryConfig

    kind, _, where = options.registry.partition(":")
    if kind != "vertex":
        return RegistryConfig(mlflow=options.registry)
    project, _, region = where.partition("/")
    if not project or not region:
        raise UserError(
            f"--registry {options.registry}: write vertex:PROJECT/REGION, such as "
            "vertex:shop/europe-west4"
        )
    return RegistryConfig(vertex=VertexRegistryConfig(project=project, region=region))


def add_root(parser: argparse.ArgumentParser) -> None:
    """Adds --root."""
    parser.add_argument(
        "--root",
        default="runs",
        metavar="DIR",
        help="folder of all pipelines' runs (default: %(default)s)",
    )


def add_model(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """Adds --root and --model, one of which says what version is asked.

    Returns:
      The group, for what else may say it.
    """
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--root",
        default="runs",
        metavar="DIR",
        help="folder of all pipelines' runs; its newest pushed version is taken "
        "(default: %(default)s)",
    )
    where.add_argument("--model", metavar="DIR", help="folder of one pushed version")
    return where


def add_pipeline(parser: argparse.ArgumentParser) -> None:
    """Adds --pipeline."""
    parser.add_argument(
        "--pipeline",
        metavar="NAME",
        help="which pipeline below the root (default: the one that ran last)",
    )


def add_format(parser: argparse.ArgumentParser) -> None:
    """Adds --format."""
    parser.add_argument(
        "--format",
        choices=("text", "json"),
        default="text",
        help="how to print results (default: %(default)s)",
    )


def at_least(least: int) -> Callable[[str], int]:
    """Returns what reads an option as a whole number that is not too small."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(
                f"must be a number of at least {least}, got {text}"
            )
        return value

    return read


def newest_version(root: str, pipeline: str | None) -> str:
    """Returns the folder of the newest pushed version below a root."""
    from pipeline.layout import Layout

    # What was not pushed whole is no version; the second is of one in shards, by its
    # name as serving.index_config, which imports too much for here, has it.
    whole = {"saved_model.pb", "shards"}
    found = [
        (int(version), os.path.join(serving, version))
        for name in ([pipeline] if pipeline else folders.names_in(root))
        for serving in [Layout(root, name).serving]
        for version in folders.names_in(serving)
        if version.isascii()
        and version.isdigit()
        and whole & set(folders.names_in(os.path.join(serving, version)))
    ]
    if not found:
        raise UserError(
            f"no pushed version in {root}; run 'shortlist run CONFIG' first, or name "
            "another --root or a --model"
        )
    return max(found)[1]
