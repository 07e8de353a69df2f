# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""`shortlist models`: what is in the model registry, and which one is champion."""

import argparse
import json
from typing import TYPE_CHECKING

import serving.process
from pipeline.cli import options as shared

if TYPE_CHECKING:
    from serving.registry.base import Registered, Registry

_WHICH = "number, or an alias such as champion"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    verbs = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, help_text, arguments in (
        ("list", "all models, or all versions of one", ()),
        ("show", "what is known of a version", ("which",)),
        ("promote", "make a version champion that passed its gates", ("which",)),
        ("rollback", "make the version champion that was it before", ()),
        ("diff", "what differs between two versions", ("which", "other")),
    ):
        verb = verbs.add_parser(name, help=help_text, description=help_text + ".")
        verb.add_argument(
            "name", nargs="?" if name == "list" else None, help="of the model"
        )
        for argument in arguments:
            verb.add_argument(argument, help=f"the version: {_WHICH}")
        shared.add_registry(verb)
        shared.add_format(verb)


def execute(options: argparse.Namespace) -> int:
    """Asks the registry, or changes its champion."""
    registry = _open(options)
    if options.action == "list":
        return _list(registry, options)
    if options.action == "diff":
        return _diff(registry, options)
    if options.action == "promote":
        version = registry.promote(options.name, options.which)
    elif options.action == "rollback":
        version = registry.roll_back(options.name)
    else:
        version = registry.find(options.name, options.which)
    _print([version], options)
    return 0


def _open(options: argparse.Namespace) -> "Registry":
    config = shared.registry_config(options)
    with serving.process.quiet_imports(options.verbose):
        from serving.registry.base import open_registry

        return open_registry(config)


def _list(registry: "Registry", options: argparse.Namespace) -> int:
    if options.name is None:
        names = registry.names()
        is_json = options.format == "json"
        print(json.dumps(names, indent=2) if is_json else "\n".join(names))
        return 0
    versions = registry.versions(options.name)
    if not versions:
        registry.find(options.name, "")  # raises, and says what there is
    if options.format == "json":
        print(json.dumps([one._asdict() for one in versions], indent=2))
        return 0
    for one in versions:
        recall = one.metrics.get("recall.10")
        told = f", recall@10 {recall:.4f}" if recall is not None else ""
        aliases = f" ({', '.join(one.aliases)})" if one.aliases else ""
        print(f"{one.version}{aliases}: {one.created}{told}")
    return 0


def _print(versions: "list[Registered]", options: argparse.Namespace) -> None:
    if options.format == "json":
        print(json.dumps(versions[0]._asdict(), indent=2))
        return
    for one in versions:
        print(f"{one.name} {one.version}: {', '.join(one.aliases) or 'no alias'}")
        for key, value in sorted({**one.tags, **one.metrics}.items()):
            print(f"  {key} = {value}")


def _diff(registry: "Registry", options: argparse.Namespace) -> int:
    first = registry.find(options.name, options.which)
    second = registry.find(options.name, options.other)
    known = [{**one.tags, **one.metrics} for one in (first, second)]
    differing = {
        key: [one.get(key) for one in known]
        for key in sorted({*known[0], *known[1]})
        if known[0].get(key) != known[1].get(key)
    }
    if options.format == "json":
        print(json.dumps(differing, indent=2))
        return 0
    print(f"{options.name}: {first.version} -> {second.version}")
    for key, (before, after) in differing.items():
        print(f"  {key}: {before} -> {after}")
    return 0
