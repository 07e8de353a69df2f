# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""`shortlist update`: new, changed and removed candidates without a training."""

import argparse

from pipeline.cli import run

_EPILOG = """\
The sources are read anew. Candidates that are new or changed, by a fingerprint of all
their features, are embedded by the towers of the last blessed model and put into its
index; those that are gone are taken out of it, and their interactions out of the
evaluation. What comes out is evaluated and pushed as a version of its own, as by
'shortlist run'. Where neither the catalogue nor the index's knobs have changed since
the newest version, nothing is evaluated or pushed. A candidate that training has not
seen is embedded by its features; it gets an embedding of its own at the next run. Once
updates have changed more than index.rebuild_above of the catalogue the index is built
anew of the same embeddings.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    run.add_arguments(parser)


def execute(options: argparse.Namespace) -> int:
    """Updates; 1 where a node failed or a gate refused the model."""
    return run.execute(options, update=True)
