# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""`shortlist doctor`: what is wrong with this machine, and how to mend it."""

import argparse
import dataclasses
import json

from pipeline.cli import options as shared


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    parser.add_argument(
        "--serving",
        action="store_true",
        help="look only at what `shortlist serve` and `shortlist recommend` need",
    )
    shared.add_format(parser)


def execute(options: argparse.Namespace) -> int:
    """Prints every check; 1 where one failed."""
    from serving import doctor

    checks = doctor.checks(serving=options.serving)
    if options.format == "json":
        print(json.dumps([dataclasses.asdict(check) for check in checks], indent=2))
    else:
        for check in checks:
            print(f"{'ok    ' if check.ok else 'WRONG '} {check.name}: {check.found}")
            if not check.ok:
                print(f"       {check.mend}")
    return 0 if all(check.ok for check in checks) else 1
