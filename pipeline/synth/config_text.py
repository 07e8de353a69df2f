# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The config of a synthetic log, with the settings that its size asks for."""

from pipeline.synth.world import Size

_HELD_OUT = 50_000
"""Interactions to evaluate on are enough: more would only take longer."""
_SMALL_TABLES = 50_000
"""Rows of both towers' tables up to which Adam, which updates all of them, is quick."""
_LONG_LOG = 5_000_000
"""Interactions from which a tenth of them is enough for statistics."""

_TEXT = """\
# A synthetic log: {interactions:,} interactions of {queries:,} queries with
# {candidates:,} candidates in {clusters:,} clusters of taste, seed {seed}.
# The law behind it: shortlist synth --help

name: {name}

interactions:
  source: {{{form}: "interactions/*.{form}"}}
  query_id: query_id
  candidate_id: candidate_id
  timestamp: timestamp
  split:
    method: random
    seed: 42
    fractions: {{train: {train:g}, eval: {held_out:g}}}   # some {rows:,} to evaluate on

candidates:
  source: {{{form}: "candidates/*.{form}"}}
  candidate_id: candidate_id
  title: title
  features:
    category: category
    price: {{type: number, log: true}}

{statistics}{training}

index:
  kind: auto                      # by size: exact, hashed, or partitioned and hashed
"""

_SAMPLE = """\
# Of each source; what rows there are and which ids they have is checked in all of them.
statistics:
  sample_rate: 0.1

"""

_MODEL = """\
model:
  embedding_dim: 64
  temperature: 0.3

"""

_ADAM = """\
training:
  rows: interaction               # a log of any size takes its time in proportion
  uniform_negatives: 0
  schedule: constant
  optimizer: adam
  learning_rate: 0.005
  batch_size: 512
  epochs: 8"""

_ADAGRAD = """\
# Adam touches every row of every table in each step, {rows:,} of them here; Adagrad
# only those of the batch. Twice the batch is twice the work for a row: its negatives.
training:
  rows: interaction
  uniform_negatives: 0
  schedule: constant
  optimizer: adagrad
  learning_rate: {rate}
  batch_size: {batch}
  epochs: {epochs}
  checkpoint: false               # the tables once more on disk, each epoch"""


def config_text(size: Size, seed: int, form: str) -> str:
    """Returns a commented config, YAML.

    Args:
      size: Of the log.
      seed: That drew it.
      form: csv or parquet.
    """
    held_out = min(0.2, max(_HELD_OUT / size.interactions, 0.001))
    held_out = float(f"{held_out:.1g}")
    return _TEXT.format(
        name=f"synth-{size.interactions}",
        interactions=size.interactions,
        queries=size.queries,
        candidates=size.candidates,
        clusters=size.clusters,
        seed=seed,
        form=form,
        train=1 - held_out,
        held_out=held_out,
        rows=round(held_out * size.interactions),
        statistics=_SAMPLE if size.interactions >= _LONG_LOG else "",
        training=_MODEL + _training(size),
    )


def _training(size: Size) -> str:
    """Returns the section of that name."""
    rows = size.queries + size.candidates
    if rows <= _SMALL_TABLES:
        return _ADAM
    return _ADAGRAD.format(rows=rows, rate=0.5, batch=1024, epochs=5)
