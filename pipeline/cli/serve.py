# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""`shortlist serve`: TensorFlow Serving's API over pushed versions."""

import argparse
import dataclasses
import os
import signal
from typing import TYPE_CHECKING, Any

import serving.process
from pipeline.cli import options as shared
from serving import folders
from serving.errors import UserError
from serving.server.options import ServerOptions

if TYPE_CHECKING:
    from serving.server.follower import Follower

TERMINATED = 128 + signal.SIGTERM


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--root",
        default="runs",
        metavar="DIR",
        help="folder of all pipelines' runs; each that has pushed a version is served "
        "under its own name (default: %(default)s)",
    )
    where.add_argument(
        "--model-base-path",
        metavar="DIR",
        help="folder of one model's versions, as Pusher writes them",
    )
    where.add_argument(
        "--model-config-file",
        metavar="FILE",
        help="TensorFlow Serving's model config: names, base paths, version policies "
        "and labels; read again when it changes",
    )
    where.add_argument(
        "--model",
        metavar="models:/NAME@ALIAS",
        help="a version in the model registry, by an alias, which is followed, or as "
        "models:/NAME/NUMBER; needs --registry",
    )
    shared.add_registry(parser, required=False)
    parser.add_argument(
        "--cache-dir",
        default=os.path.join("~", ".cache", "shortlist"),
        metavar="DIR",
        help="where versions of the registry are kept while they are served (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--name",
        metavar="NAME",
        help="what the model is called (with --model-base-path; default: the folder's "
        "name); with --root: only the pipeline of this name",
    )
    for field in dataclasses.fields(ServerOptions):
        parser.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=type(field.default),
            default=field.default,
            metavar=field.metadata["metavar"],
            help=f"{field.metadata['help']}"
            + (" (default: %(default)s)" if field.default != "" else ""),
        )


def execute(options: argparse.Namespace) -> int:
    """Serves until it is stopped."""
    settings: dict[str, Any] = {
        field.name: getattr(options, field.name)
        for field in dataclasses.fields(ServerOptions)
    }
    server_options = ServerOptions(**settings)
    # Process 1 of a container does not die of SIGTERM unless it does so itself, and
    # until the server takes it over the imports take seconds.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(TERMINATED))
    with serving.process.fast_imports():
        from serving.server.model_config import ModelSettings, check_name, read_config
        from serving.server.run import run

    follower = _follower(options) if options.model else None
    if follower:
        models = [follower.first()]
    elif options.model_config_file:
        if options.name:
            raise UserError("--name is for --model-base-path or --root")
        models = read_config(options.model_config_file)
    else:
        paths = _base_paths(options)
        for name in paths:
            check_name(name)
        models = [ModelSettings(name, path) for name, path in paths.items()]
    run(models, server_options, options.model_config_file or "", follower)
    return 0


def _follower(options: argparse.Namespace) -> "Follower":
    """Returns what follows --model in the registry."""
    from serving.registry.base import open_registry, parse_address
    from serving.server.follower import Follower

    if os.path.isdir(options.model):
        raise UserError(
            f"--model is for the registry and {options.model} is a folder; "
            "serve a folder of versions with --model-base-path"
        )
    address = parse_address(options.model)
    if options.name or not options.registry:
        raise UserError("--model needs --registry, and no --name: it has one")
    registry = open_registry(shared.registry_config(options))
    folder = os.path.expanduser(options.cache_dir)
    return Follower(address, registry, folder, options.poll_s)


def _base_paths(options: argparse.Namespace) -> dict[str, str]:
    """Returns the folder of each model's versions, by the model's name."""
    if options.model_base_path:
        path = options.model_base_path.rstrip("/")
        return {options.name or os.path.basename(shared.absolute_root(path)): path}
    from pipeline.layout import Layout

    root = options.root
    names = [options.name] if options.name else _folders(root)
    found = {
        name: Layout(root, name).serving
        for name in names
        if folders.names_in(Layout(root, name).serving)
    }
    if not found:
        raise UserError(
            f"no pushed version in {root}; run 'shortlist run CONFIG' first, or name "
            "another --root, a --model-base-path or a --model-config-file"
        )
    return found


def _folders(root: str) -> list[str]:
    """Returns what is in a root, nothing where there is none."""
    try:
        return folders.names_in(root)
    except PermissionError:
        raise UserError(
            f"{root} can't be read; let the user with the id {os.getuid()}, as which "
            "this runs, read it and what is in it"
        ) from None
