# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The graph: a config in, a TFX pipeline out, nothing touched on the way."""

import hashlib
import json
import logging
from collections.abc import Collection
from typing import Any, TypeVar

from tfx import types
from tfx.components import Transform
from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.components.common.resolver import Resolver
from tfx.dsl.io import fileio
from tfx.extensions.google_cloud_big_query.example_gen.component import (
    BigQueryExampleGen,
)
from tfx.orchestration import data_types
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.proto import example_gen_pb2, pusher_pb2, transform_pb2
from tfx.types import standard_artifacts

from components.artifacts import DataFindings
from components.bigquery_example_gen.queries import split_queries
from components.candidate_embedder.component import CandidateEmbedder
from components.catalogue_gen.component import CatalogueGen
from components.columns import WEIGHT_FEATURE, Column, Kind
from components.evaluator.component import GatedEvaluator
from components.evaluator.eval_config import make_eval_config
from components.example_cleaner.component import ExampleCleaner
from components.example_validator.component import SchemaValidator
from components.feature_validator.component import FeatureValidator
from components.feature_validator.scan import Plan
from components.file_example_gen.component import FileExampleGen
from components.file_example_gen.files import has_spans, split_pattern
from components.findings import Policy
from components.index_evaluator.component import IndexEvaluator
from components.index_tuner.component import IndexTuner
from components.interaction_preparer.component import InteractionPreparer
from components.interaction_preparer.preparation import Preparation
from components.pusher.component import AtomicPusher
from components.registry_pusher.component import RegistryPusher
from components.resolver import (
    EarlierSpanStrategy,
    LatestBlessedServableStrategy,
    LatestBlessedTowersStrategy,
    LatestOtherBlessedModelStrategy,
)
from components.scann_indexer.component import ScannIndexer
from components.schema_gen.component import DeclaredSchemaGen
from components.shift_validator.component import ShiftValidator, comparable
from components.shift_validator.shifts import DRIFT, SKEW
from components.statistics_gen.component import BatchStatisticsGen
from components.tfds_example_gen.component import TfdsExampleGen
from components.trainer.component import TwoTowerTrainer
from components.tuner.component import RecipeTuner
from pipeline.config import (
    InteractionsConfig,
    PipelineConfig,
    TableConfig,
    columns_of,
    feature_columns,
)
from pipeline.fingerprint import fingerprint
from pipeline.layout import Layout
from pipeline.metadata import connection_to
from pipeline.sources import (
    FILE_FORMATS,
    BigQuerySource,
    TfdsSource,
    TfRecordSource,
)
from serving.errors import UserError
from trainer.feature_config import Features, dump_features

_DATA_CODE = (
    "components.catalogue_gen",
    "components.columns",
    "components.conversion",
    "components.example_cleaner",
    "components.file_example_gen",
    "components.records",
    "components.schema_gen",
    "components.split_examples",
    "components.splits",
    "components.tfds_example_gen",
)
_VALIDATION_CODE = (
    "components.example_validator",
    "components.feature_validator",
    "components.findings",
    "components.records",
    "components.shift_validator",
)
_log = logging.getLogger(__name__)
_Node = TypeVar("_Node", bound=BaseNode)

INTERACTIONS = "interactions"
CANDIDATES = "candidates"
QUERIES = "queries"

_NO_SPLIT = {"method": "none"}


def build_pipeline(
    config: PipelineConfig, layout: Layout, update: bool = False
) -> tfx_pipeline.Pipeline:
    """Builds the TFX pipeline of a config.

    Args:
      config: What to run.
      layout: Where its artifacts, metadata and versions go.
      update: Train nothing: take the towers of the last blessed servable and bring
        that one's catalogue and index up to date.

    Returns:
      The pipeline, with the cache on.

    Raises:
      UserError: The config has settings of a node that is not there.
    """
    nodes = (UpdateNodes if update else Nodes)(config, layout)
    components = nodes.all()
    nodes.refuse_unknown()
    return tfx_pipeline.Pipeline(
        pipeline_name=config.name,
        pipeline_root=layout.artifacts,
        components=components,
        enable_cache=True,
        metadata_connection_config=connection_to(config.metadata, layout),
        beam_pipeline_args=config.beam_args(),
    )


class Nodes:
    """The nodes of one pipeline and the channels between them."""

    def __init__(self, config: PipelineConfig, layout: Layout):
        self._config = config
        self._layout = layout
        self._nodes: list[BaseNode] = []
        self._schemas: dict[str, types.BaseChannel] = {}
        self._statistics: dict[str, types.BaseChannel] = {}
        self._previous: types.BaseChannel | None = None
        """The servable that is brought up to date, if any."""

    def all(self) -> list[BaseNode]:
        """Returns every node."""
        interactions, candidates = self._data()
        self._validator = self._validate(interactions, candidates)
        towers, embeddings = self._towers(interactions, candidates)
        self._servable(towers, embeddings, interactions)
        return self._nodes

    def _add(self, component: _Node, node_id: str | None = None) -> _Node:
        """Keeps a node, under an id of its own where its class is used twice."""
        if node_id:
            component = component.with_id(node_id)
        name = self._name_of(component)
        if name in self._config.beam.nodes:
            if not isinstance(component, BaseBeamComponent):
                raise UserError(f"beam.nodes.{name}: {name} is no Beam pipeline")
            component.with_beam_pipeline_args(self._config.beam_args(name))
        self._nodes.append(component)
        return component

    def _name_of(self, component: BaseNode) -> str:
        """Returns what `shortlist run` calls a node."""
        return component.id

    def refuse_unknown(self) -> None:
        """Refuses settings of nodes that are not there.

        Raises:
          UserError: There are such.
        """
        known = [self._name_of(node) for node in self._nodes]
        for key, asked in self._settings_of_nodes().items():
            for name in sorted(set(asked) - set(known)):
                raise UserError(
                    f"{key}.{name}: the pipeline has no such node; give one of "
                    f"{', '.join(sorted(known))}"
                )

    def _settings_of_nodes(self) -> dict[str, Collection[str]]:
        """Returns the nodes that the config names, by its keys."""
        return {"beam.nodes": self._config.beam.nodes}

    def _data(self) -> tuple[types.BaseChannel, types.BaseChannel]:
        """Reads, validates and cleans both sources."""
        config = self._config
        interactions = self._example_gen(
            INTERACTIONS, config.interactions, _split(config.interactions)
        )
        if config.candidates:
            candidates = self._example_gen(CANDIDATES, config.candidates, _NO_SPLIT)
        else:
            candidates = self._add(
                CatalogueGen(
                    interactions=interactions,
                    candidate_id=config.interactions.candidate_id,
                    fingerprint=fingerprint(*_DATA_CODE),
                )
            ).outputs["examples"]
        cleaner = self._add(
            ExampleCleaner(
                interactions=interactions,
                candidates=candidates,
                query_id=config.interactions.query_id,
                candidate_id=config.interactions.candidate_id,
                catalogue_id=config.catalogue.candidate_id,
                orphans=self._orphans,
                duplicates=config.catalogue.duplicates,
                fingerprint=fingerprint(*_DATA_CODE),
            )
        )
        cleaner.add_upstream_nodes(
            self._check(INTERACTIONS, interactions, config.interactions)
            + self._check(CANDIDATES, candidates, config.catalogue)
        )
        interactions = self._prepare(cleaner.outputs["cleaned_interactions"])
        return interactions, cleaner.outputs["cleaned_candidates"]

    @property
    def _orphans(self) -> str:
        """What becomes of interactions whose candidate is not in the catalogue."""
        return self._config.interactions.orphans

    def _prepare(self, interactions: types.BaseChannel) -> types.BaseChannel:
        """Selects, weighs and completes interactions, where there is such to do."""
        preparation = _preparation(self._config)
        if not preparation.is_needed:
            return interactions
        queries, validators = None, []
        if self._config.queries:
            queries = self._example_gen(QUERIES, self._config.queries, _NO_SPLIT)
            validators = self._check(QUERIES, queries, self._config.queries)
        preparer = self._add(
            InteractionPreparer(
                interactions=interactions,
                preparation=preparation,
                queries=queries,
                fingerprint=fingerprint("components.interaction_preparer", *_DATA_CODE),
            )
        )
        preparer.add_upstream_nodes(validators)
        return preparer.outputs["prepared_interactions"]

    def _example_gen(
        self, name: str, config: TableConfig, split: dict
    ) -> types.BaseChannel:
        """Reads one source."""
        source, columns = config.source, columns_of(config)
        if name == INTERACTIONS and not isinstance(source, TfdsSource | TfRecordSource):
            columns = _with_slices(columns, self._config)
        code = fingerprint(*_DATA_CODE)
        component: BaseNode
        if isinstance(source, TfdsSource):
            component = TfdsExampleGen(
                dataset=source.tfds,
                data_dir=self._config.data_dir,
                split=split,
                dataset_split=source.dataset_split,
                columns=columns,
                fingerprint=code,
            )
        elif isinstance(source, BigQuerySource):
            component = BigQueryExampleGen(
                input_config=_queries(source.bigquery, columns, split)
            )
        else:
            component = FileExampleGen(
                pattern=source.path,
                file_format=source.file_format(),
                columns=columns,
                split=split,
                last_spans=source.last_spans,
                fingerprint=code,
                **self._file_parameters(name, source.path),
            )
        return self._add(component, f"ExampleGen.{name}").outputs["examples"]

    def _file_parameters(
        self, name: str, path: str
    ) -> dict[str, data_types.RuntimeParameter]:
        """Returns what of a source of files is told when the pipeline runs."""
        return {}

    def _check(
        self,
        name: str,
        examples: types.BaseChannel,
        config: TableConfig,
    ) -> list[BaseNode]:
        """Checks one source; returns the nodes that stop the run.

        What follows waits for these by order, not for their outputs: what a finding
        does can be changed without making everything anew.
        """
        statistics = self._add(
            BatchStatisticsGen(
                examples=examples,
                fingerprint=fingerprint("components.statistics_gen", *_DATA_CODE),
                **self._config.statistics.model_dump(),
            ),
            f"StatisticsGen.{name}",
        ).outputs["statistics"]
        derived = _derived(self._config) if name == INTERACTIONS else []
        schema = self._add(
            DeclaredSchemaGen(
                statistics=statistics,
                columns=columns_of(config),
                derived=derived,
                schema_file=config.schema_file,
                schema_text=_read_text(config.schema_file),
                fingerprint=fingerprint(*_DATA_CODE),
            ),
            f"SchemaGen.{name}",
        ).outputs["schema"]
        validator = self._add(
            SchemaValidator(
                statistics=statistics,
                schema=schema,
                source=name,
                policy=self._policy,
                fingerprint=fingerprint(*_VALIDATION_CODE),
            ),
            f"ExampleValidator.{name}",
        )
        self._schemas[name], self._statistics[name] = schema, statistics
        return [validator, *self._compare(name, statistics, config)]

    def _compare(
        self, name: str, statistics: types.BaseChannel, config: TableConfig
    ) -> list[BaseNode]:
        """Compares eval with train and a span with the one before, where there are."""
        limits, features = self._config.validation, _types(config.features)
        shared: dict[str, Any] = {
            "statistics": statistics,
            "source": name,
            "features": features,
            "policy": self._policy,
            "fingerprint": fingerprint(*_VALIDATION_CODE),
        }
        validators: list[BaseNode] = []
        if not comparable(features):
            return validators
        by_time = self._config.interactions.split.method == "time"
        if name == INTERACTIONS and by_time and limits.max_skew is not None:
            skew = ShiftValidator(SKEW, threshold=limits.max_skew, **shared)
            validators.append(self._add(skew, f"SkewValidator.{name}"))
        path = getattr(config.source, "path", "")
        if has_spans(path) and limits.max_drift is not None:
            drift = ShiftValidator(
                DRIFT,
                threshold=limits.max_drift,
                baseline_statistics=self._earlier(name, statistics),
                **shared,
            )
            validators.append(self._add(drift, f"DriftValidator.{name}"))
        return validators

    def _earlier(self, name: str, statistics: types.BaseChannel) -> types.BaseChannel:
        """Finds the statistics of an earlier span of one source."""
        resolver = Resolver(
            strategy_class=EarlierSpanStrategy,
            config={"source": name},
            current=statistics,
            earlier=types.Channel(type=standard_artifacts.ExampleStatistics),
            checked=types.Channel(type=DataFindings),
        )
        return self._add(resolver, f"EarlierSpan.{name}").outputs["earlier"]

    def _validate(
        self, interactions: types.BaseChannel, candidates: types.BaseChannel
    ) -> FeatureValidator:
        """Checks the features that are to be learned from."""
        return self._add(
            FeatureValidator(
                interactions=interactions,
                candidates=candidates,
                plan=_plan(self._config),
                policy=self._policy,
                fingerprint=fingerprint(*_VALIDATION_CODE),
            )
        )

    @property
    def _policy(self) -> Policy:
        validation = self._config.validation
        return Policy(validation.mode, tuple(validation.ignore))

    def _transform(
        self, name: str, examples: types.BaseChannel, **custom_config: Any
    ) -> Transform:
        """Computes vocabularies and scales of one source from its train split."""
        splits = ["train"]
        if name == INTERACTIONS and self._config.interactions.split.has_valid:
            splits.append("valid")
        transform = self._add(
            Transform(
                examples=examples,
                schema=self._schemas[name],
                preprocessing_fn=f"trainer.preprocessing.preprocess_{name}",
                splits_config=transform_pb2.SplitsConfig(
                    analyze=["train"], transform=splits
                ),
                disable_statistics=True,
                disable_analyzer_cache=True,
                custom_config={**custom_config, "fingerprint": fingerprint("trainer")},
            ),
            f"Transform.{name}",
        )
        transform.add_upstream_node(self._validator)
        return transform

    def _towers(
        self, interactions: types.BaseChannel, candidates: types.BaseChannel
    ) -> tuple[types.BaseChannel, types.BaseChannel]:
        """Trains the towers and embeds the catalogue."""
        config = self._config
        ids = {
            "query_id": config.interactions.query_id,
            "candidate_id": config.interactions.candidate_id,
        }
        catalogue_id = config.catalogue.candidate_id
        query_features = dump_features(config.query_features)
        candidate_features = dump_features(config.catalogue.all_features)
        has_weight = _preparation(config).has_weight
        weight = WEIGHT_FEATURE if has_weight else None
        query_side = self._transform(
            INTERACTIONS,
            interactions,
            **ids,
            features=query_features,
            weight=weight,
        )
        candidate_side = self._transform(
            CANDIDATES,
            candidates,
            candidate_id=catalogue_id,
            features=candidate_features,
        )
        inputs = {
            "examples": query_side.outputs["transformed_examples"],
            "transform_graph": query_side.outputs["transform_graph"],
            "candidates": candidate_side.outputs["transformed_examples"],
            "candidate_transform_graph": candidate_side.outputs["transform_graph"],
        }
        custom_config = {
            **ids,
            "catalogue_id": catalogue_id,
            "weight": weight,
            "query_features": query_features,
            "candidate_features": candidate_features,
            "model": config.model.model_dump(),
            "training": config.training.model_dump(),
        }
        model = self._add(
            TwoTowerTrainer(
                **inputs,
                has_valid_split=config.interactions.split.has_valid,
                base_model=self._base_model(),
                hyperparameters=self._hyperparameters(inputs, custom_config),
                custom_config={
                    **custom_config,
                    "fingerprint": fingerprint("trainer", "components.trainer"),
                },
            ),
            "Trainer",
        ).outputs["model"]
        return model, self._embeddings(candidates, model)

    def _embeddings(
        self,
        candidates: types.BaseChannel,
        model: types.BaseChannel,
        previous: types.BaseChannel | None = None,
    ) -> types.BaseChannel:
        """Embeds the catalogue, or what a servable has not."""
        config = self._config
        embedder = self._add(
            CandidateEmbedder(
                candidates=candidates,
                model=model,
                previous=previous,
                candidate_id=config.catalogue.candidate_id,
                title=config.catalogue.title,
                attributes={
                    name: one.type for name, one in config.catalogue.attributes.items()
                },
                batch_size=config.embedding_batch_size,
                shards=config.index.shards,
                fingerprint=fingerprint(
                    "serving", "components.candidate_embedder", "components.records"
                ),
            )
        )
        return embedder.outputs["embeddings"]

    def _hyperparameters(
        self, inputs: dict[str, types.BaseChannel], custom_config: dict[str, Any]
    ) -> types.BaseChannel | None:
        """Searches for a better recipe, where the config asks for it."""
        if not self._config.tuner.trials:
            return None
        tuner = self._add(
            RecipeTuner(
                **inputs,
                custom_config={
                    **custom_config,
                    "tuner": self._config.tuner.model_dump(),
                    "fingerprint": fingerprint(
                        "trainer", "components.trainer", "components.tuner"
                    ),
                },
            ),
            "Tuner",
        )
        return tuner.outputs["best_hyperparameters"]

    def _base_model(self) -> types.BaseChannel | None:
        """Finds the towers that a warm start begins with."""
        if not self._config.training.warm_start:
            return None
        return self._blessed(LatestBlessedTowersStrategy, "WarmStart")

    def _blessed(
        self, strategy: type[LatestBlessedServableStrategy], node_id: str
    ) -> types.BaseChannel:
        """Finds the last blessed model of the same interactions."""
        resolver = Resolver(
            strategy_class=strategy,
            config={"interactions": json.dumps(identity(self._config)[INTERACTIONS])},
            model=types.Channel(type=standard_artifacts.Model),
            model_blessing=types.Channel(type=_blessing_type(self._config)),
        )
        return self._add(resolver, node_id).outputs["model"]

    def _servable(
        self,
        towers: types.BaseChannel,
        embeddings: types.BaseChannel,
        interactions: types.BaseChannel,
    ) -> None:
        """Indexes, evaluates twice, and pushes what both bless.

        A catalogue in shards is no single SavedModel, as Evaluator needs it, and is
        pushed by IndexEvaluator's blessing alone.
        """
        config = self._config
        code = fingerprint("serving", "components")
        indexer = self._add(
            ScannIndexer(
                towers=towers,
                embeddings=embeddings,
                index=config.index,
                knobs=self._knobs(towers, embeddings, interactions, code),
                previous=self._previous,
                about={
                    "pipeline": config.name,
                    "config": identity(config),
                },
                fingerprint=code,
            )
        )
        model = indexer.outputs["model"]
        previous = self._baseline(model)
        index_evaluator = self._add(
            IndexEvaluator(
                model=model,
                interactions=interactions,
                query_id=config.interactions.query_id,
                candidate_id=config.interactions.candidate_id,
                config=config.evaluation,
                previous_model=previous,
                histories=list(_preparation(config).histories),
                fingerprint=code,
                gates=self._gates(),
            )
        )
        model_blessing = None
        if config.index.shards == 1:
            evaluator = self._evaluator(model, previous, interactions, code)
            model_blessing = evaluator.outputs["blessing"]
        elif config.evaluation.slices:
            _log.warning(
                "evaluation.slices is left out: Evaluator, which slices, can't load a "
                "catalogue in shards (index.shards is %d)",
                config.index.shards,
            )
        pusher = self._add(
            AtomicPusher(
                model=model,
                model_blessing=model_blessing,
                infra_blessing=index_evaluator.outputs["blessing"],
                evaluation=index_evaluator.outputs["evaluation"],
                push_destination=pusher_pb2.PushDestination(
                    filesystem=pusher_pb2.PushDestination.Filesystem(
                        base_directory=self._layout.serving
                    )
                ),
                fingerprint=code,
                **self._push_options(towers),
            ),
            "Pusher",
        )
        if config.registry.is_there:
            self._add(
                RegistryPusher(
                    pushed_model=pusher.outputs["pushed_model"],
                    model=model,
                    name=config.registry.name or config.name,
                    registry=config.registry,
                    config_hash=_hash(identity(config)),
                )
            )

    def _baseline(self, model: types.BaseChannel) -> types.BaseChannel:
        """Finds the last blessed servable that one can be compared with."""
        resolver = Resolver(
            strategy_class=LatestOtherBlessedModelStrategy,
            candidate=model,
            model=types.Channel(type=standard_artifacts.Model),
            model_blessing=types.Channel(type=_blessing_type(self._config)),
        )
        return self._add(resolver, "LatestBlessedModel").outputs["model"]

    def _gates(self) -> dict[str, data_types.RuntimeParameter]:
        """Returns the bounds of IndexEvaluator that are told when it runs."""
        return {}

    def _min_top_k_accuracy(self) -> data_types.RuntimeParameter | None:
        """Returns Evaluator's bound, if it is told when it runs."""
        return None

    def _push_options(self, towers: types.BaseChannel) -> dict[str, Any]:
        """Returns what else Pusher is to know."""
        return {}

    def _knobs(
        self,
        towers: types.BaseChannel,
        embeddings: types.BaseChannel,
        interactions: types.BaseChannel,
        code: str,
    ) -> types.BaseChannel | None:
        """Searches for the index's knobs, where the config asks for it."""
        config = self._config
        if config.index.knobs == "given":
            return None
        has_valid = config.interactions.split.has_valid
        tuner = self._add(
            IndexTuner(
                towers=towers,
                embeddings=embeddings,
                interactions=interactions,
                index=config.index,
                split="valid" if has_valid else "train",
                fingerprint=code,
            )
        )
        return tuner.outputs["knobs"]

    def _evaluator(
        self,
        model: types.BaseChannel,
        previous: types.BaseChannel,
        interactions: types.BaseChannel,
        code: str,
    ) -> GatedEvaluator:
        """Judges the servable by slice, against the latest blessed one."""
        return self._add(
            GatedEvaluator(
                examples=interactions,
                model=model,
                baseline_model=previous,
                schema=self._schemas[INTERACTIONS],
                eval_config=make_eval_config(
                    self._config.interactions.candidate_id,
                    self._config.evaluation,
                    code,
                ),
                min_top_k_accuracy=self._min_top_k_accuracy(),
            ),
            "Evaluator",
        )


class UpdateNodes(Nodes):
    """The nodes that bring a servable up to date with its catalogue."""

    @property
    def _orphans(self) -> str:
        """Dropped: that candidates go is what an update is for."""
        return "drop"

    def _towers(
        self, interactions: types.BaseChannel, candidates: types.BaseChannel
    ) -> tuple[types.BaseChannel, types.BaseChannel]:
        """Finds the towers that there are and embeds what is new."""
        towers = self._blessed(LatestBlessedTowersStrategy, "BlessedTowers")
        self._previous = self._blessed(LatestBlessedServableStrategy, "BlessedServable")
        embeddings = self._embeddings(candidates, towers, self._previous)
        return towers, embeddings

    def _knobs(self, *inputs: types.BaseChannel | str) -> None:
        """Searches for nothing: the index keeps its knobs."""


def _blessing_type(config: PipelineConfig) -> type[types.Artifact]:
    """Returns the type of the blessing that says which model was the last good one."""
    if config.index.shards > 1:
        return standard_artifacts.InfraBlessing
    return standard_artifacts.ModelBlessing


def _split(config: InteractionsConfig) -> dict:
    """Returns the split as ExampleGen reads it, with the features it goes by."""
    split = config.split.model_dump()
    by, method = split.pop("by", None), split["method"]
    if by == "within_query":
        split["method"] = "within_query"
    if by == "within_query" or method == "leave_last_out":
        split["query"] = config.query_id
    if method in ("random", "leave_last_out"):
        keys = [config.query_id, config.candidate_id, config.timestamp]
        split["keys"] = [key for key in keys[: 1 if by == "query" else None] if key]
    if method in ("time", "leave_last_out"):
        split["timestamp"] = config.timestamp
    return split


def _preparation(config: PipelineConfig) -> Preparation:
    """Returns what is to be done with the interactions after the cleaning."""
    interactions, queries = config.interactions, config.queries
    # Whole queries, or later interactions, are held out: nothing of training would be
    # left to ask with.
    split = interactions.split
    held_out_together = (
        split.method in ("time", "leave_last_out")
        or getattr(split, "by", "") == "query"
    )
    return Preparation(
        query_id=interactions.query_id,
        candidate_id=interactions.candidate_id,
        timestamp=interactions.timestamp,
        **interactions.signal.model_dump(),
        histories={
            name: feature.length
            for name, feature in interactions.features.items()
            if feature.type == "history"
        },
        history_of_all_splits=held_out_together,
        table_id=queries.query_id if queries else None,
        table_features=list(queries.features) if queries else [],
        table_duplicates=queries.duplicates if queries else "stop",
    )


def _types(features: Features) -> dict[str, str]:
    """Returns the type of each feature."""
    return {name: feature.type for name, feature in features.items()}


def _plan(config: PipelineConfig) -> Plan:
    """Returns what FeatureValidator is to look at."""
    return Plan(
        query_id=config.interactions.query_id,
        candidate_id=config.interactions.candidate_id,
        catalogue_id=config.catalogue.candidate_id,
        timestamp=config.interactions.timestamp,
        query_features=_types(config.query_features),
        candidate_features=_types(config.catalogue.all_features),
        max_new_values=config.validation.max_new_values,
    )


def _derived(config: PipelineConfig) -> list[Column]:
    """Returns the features that the preparation adds to the interactions."""
    preparation = _preparation(config)
    columns = [Column(name, Kind.TEXTS) for name in preparation.histories]
    if preparation.has_weight:
        columns.append(Column(WEIGHT_FEATURE, Kind.NUMBER))
    if config.queries:
        columns += [
            column
            for name, feature in config.queries.features.items()
            for column in feature_columns(name, feature)
        ]
    return columns


def _hash(values: Any) -> str:
    """Returns a hash of JSON-able values, 16 hex digits."""
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _read_text(path: str | None) -> str:
    """Returns what a file holds, "" for none."""
    if not path:
        return ""
    with fileio.open(path) as file:
        return file.read()


def _with_slices(columns: list[Column], config: PipelineConfig) -> list[Column]:
    """Adds what Evaluator slices by to what is read; tf.Examples hold it anyway."""
    known = {column.name for column in columns + _derived(config)}
    slices = config.evaluation.slices
    return columns + [Column(s, Kind.TEXT) for s in slices if s not in known]


def _queries(query: str, columns: list[Column], split: dict) -> example_gen_pb2.Input:
    """Returns one query a split."""
    return example_gen_pb2.Input(
        splits=[
            example_gen_pb2.Input.Split(name=name, pattern=sql)
            for name, sql in split_queries(query, columns, split).items()
        ]
    )


def is_declared_alike(config: PipelineConfig, before: dict[str, Any]) -> bool:
    """Tells whether a servable's candidates were declared as in a config.

    Args:
      config: What is run.
      before: `config` of the servable's manifest.
    """

    def declared(values: dict[str, Any]) -> dict[str, Any]:
        candidates = values.get(CANDIDATES) or {}
        return {name: one for name, one in candidates.items() if name != "source"}

    # As JSON has it, which the manifest went through.
    now = json.loads(json.dumps(identity(config)))
    return declared(now) == declared(before)


def identity(config: PipelineConfig) -> dict[str, Any]:
    """Returns what a model is made from, without paths of this machine.

    Another checkout, or the same files in another folder, is the same data.
    """
    parts = {INTERACTIONS, QUERIES, CANDIDATES, "model", "training", "tuner"}
    values = config.model_dump(include=parts)
    for name in (INTERACTIONS, QUERIES, CANDIDATES):
        if values[name]:
            del values[name]["schema_file"]
            source = values[name]["source"]
            for key in set(source) & set(FILE_FORMATS):
                source[key] = split_pattern(source[key])[1]
    return values
