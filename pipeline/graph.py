# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The graph: a config in, a TFX pipeline out, nothing touched on the way."""

from typing import TypeVar

from ml_metadata.proto import metadata_store_pb2
from tfx import types
from tfx.components import (
    Evaluator,
    SchemaGen,
    StatisticsGen,
    Transform,
)
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.components.common.resolver import Resolver
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.proto import pusher_pb2, transform_pb2
from tfx.types import standard_artifacts

from components.candidate_embedder.component import CandidateEmbedder
from components.evaluator.eval_config import make_eval_config
from components.example_cleaner.component import ExampleCleaner
from components.example_validator.component import StrictExampleValidator
from components.index_evaluator.component import IndexEvaluator
from components.pusher.component import AtomicPusher
from components.resolver import LatestOtherBlessedModelStrategy
from components.scann_indexer.component import ScannIndexer
from components.tfds_example_gen.component import TfdsExampleGen
from components.trainer.component import TwoTowerTrainer
from pipeline.config import CandidatesConfig, InteractionsConfig, PipelineConfig
from pipeline.fingerprint import fingerprint
from pipeline.layout import Layout

_DATA_CODE = (
    "components.tfds_example_gen",
    "components.example_cleaner",
    "components.example_validator",
)
_Node = TypeVar("_Node", bound=BaseNode)

INTERACTIONS = "interactions"
CANDIDATES = "candidates"


def build_pipeline(config: PipelineConfig, layout: Layout) -> tfx_pipeline.Pipeline:
    """Builds the TFX pipeline of a config.

    Args:
      config: What to run.
      layout: Where its artifacts, metadata and versions go.

    Returns:
      The pipeline, with the cache on.
    """
    nodes = _Nodes(config, layout)
    return tfx_pipeline.Pipeline(
        pipeline_name=config.name,
        pipeline_root=layout.artifacts,
        components=nodes.all(),
        enable_cache=True,
        metadata_connection_config=_sqlite(layout.metadata),
        beam_pipeline_args=config.beam_args,
    )


def _sqlite(path: str) -> metadata_store_pb2.ConnectionConfig:
    """Says where ML Metadata is; TFX's own helper makes the folder at once."""
    source = metadata_store_pb2.SqliteMetadataSourceConfig(
        filename_uri=path,
        connection_mode=metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE,
    )
    return metadata_store_pb2.ConnectionConfig(sqlite=source)


class _Nodes:
    """The nodes of one pipeline and the channels between them."""

    def __init__(self, config: PipelineConfig, layout: Layout):
        self._config = config
        self._layout = layout
        self._nodes: list[BaseNode] = []
        self._schemas: dict[str, types.BaseChannel] = {}

    def all(self) -> list[BaseNode]:
        """Returns every node."""
        interactions, candidates = self._data()
        towers, embeddings = self._towers(interactions, candidates)
        self._servable(towers, embeddings, interactions)
        return self._nodes

    def _add(self, component: _Node, node_id: str | None = None) -> _Node:
        """Keeps a node, under an id of its own where its class is used twice."""
        if node_id:
            component = component.with_id(node_id)
        self._nodes.append(component)
        return component

    def _data(self) -> tuple[types.BaseChannel, types.BaseChannel]:
        """Reads, validates and cleans both sources."""
        config = self._config
        interactions, interactions_anomalies = self._source(
            INTERACTIONS, config.interactions, _split(config.interactions)
        )
        candidates, candidates_anomalies = self._source(
            CANDIDATES, config.candidates, {"method": "none"}
        )
        cleaner = self._add(
            ExampleCleaner(
                interactions=interactions,
                candidates=candidates,
                query_id=config.interactions.query_id,
                candidate_id=config.interactions.candidate_id,
                catalogue_id=config.candidates.candidate_id,
                orphans=config.interactions.orphans,
                duplicates=config.candidates.duplicates,
                fingerprint=fingerprint(*_DATA_CODE),
                interactions_anomalies=interactions_anomalies,
                candidates_anomalies=candidates_anomalies,
            )
        )
        return (
            cleaner.outputs["cleaned_interactions"],
            cleaner.outputs["cleaned_candidates"],
        )

    def _source(
        self, name: str, source: InteractionsConfig | CandidatesConfig, split: dict
    ) -> tuple[types.BaseChannel, types.BaseChannel]:
        """Reads one source and checks it against its schema."""
        examples = self._add(
            TfdsExampleGen(
                dataset=source.source.tfds,
                data_dir=self._config.data_dir,
                split=split,
                dataset_split=source.source.dataset_split,
                fingerprint=fingerprint(*_DATA_CODE),
            ),
            f"ExampleGen.{name}",
        ).outputs["examples"]
        statistics = self._add(
            StatisticsGen(examples=examples), f"StatisticsGen.{name}"
        ).outputs["statistics"]
        if source.schema_file:
            schema_gen = ImportSchemaGen(schema_file=source.schema_file)
        else:
            schema_gen = SchemaGen(statistics=statistics, infer_feature_shape=True)
        schema = self._add(schema_gen, f"SchemaGen.{name}").outputs["schema"]
        validator = self._add(
            StrictExampleValidator(
                statistics=statistics,
                schema=schema,
                source=name,
                fingerprint=fingerprint(*_DATA_CODE),
            ),
            f"ExampleValidator.{name}",
        )
        self._schemas[name] = schema
        return examples, validator.outputs["anomalies"]

    def _transform(
        self, name: str, examples: types.BaseChannel, **features: str
    ) -> Transform:
        """Computes the vocabularies of one source from its train split."""
        splits = ["train"]
        if name == INTERACTIONS and self._has_valid_split():
            splits.append("valid")
        return self._add(
            Transform(
                examples=examples,
                schema=self._schemas[name],
                preprocessing_fn=f"trainer.preprocessing.preprocess_{name}",
                splits_config=transform_pb2.SplitsConfig(
                    analyze=["train"], transform=splits
                ),
                materialize=name == INTERACTIONS,
                disable_statistics=True,
                custom_config={**features, "fingerprint": fingerprint("trainer")},
            ),
            f"Transform.{name}",
        )

    def _has_valid_split(self) -> bool:
        split = _split(self._config.interactions)
        return bool((split.get("fractions") or split["counts"]).get("valid"))

    def _towers(
        self, interactions: types.BaseChannel, candidates: types.BaseChannel
    ) -> tuple[types.BaseChannel, types.BaseChannel]:
        """Trains the towers and embeds the catalogue."""
        config = self._config
        ids = {
            "query_id": config.interactions.query_id,
            "candidate_id": config.interactions.candidate_id,
        }
        catalogue_id = config.candidates.candidate_id
        query_side = self._transform(INTERACTIONS, interactions, **ids)
        candidate_side = self._transform(
            CANDIDATES, candidates, candidate_id=catalogue_id
        )
        trainer = self._add(
            TwoTowerTrainer(
                examples=query_side.outputs["transformed_examples"],
                transform_graph=query_side.outputs["transform_graph"],
                candidate_transform_graph=candidate_side.outputs["transform_graph"],
                has_valid_split=self._has_valid_split(),
                custom_config={
                    **ids,
                    "catalogue_id": catalogue_id,
                    "model": config.model.model_dump(),
                    "training": config.training.model_dump(),
                    "fingerprint": fingerprint("trainer", "components.trainer"),
                },
            ),
            "Trainer",
        )
        embedder = self._add(
            CandidateEmbedder(
                candidates=candidates,
                model=trainer.outputs["model"],
                candidate_id=catalogue_id,
                title=config.candidates.title,
                batch_size=config.embedding_batch_size,
                fingerprint=fingerprint("serving", "components.candidate_embedder"),
            )
        )
        return trainer.outputs["model"], embedder.outputs["embeddings"]

    def _servable(
        self,
        towers: types.BaseChannel,
        embeddings: types.BaseChannel,
        interactions: types.BaseChannel,
    ) -> None:
        """Indexes, evaluates twice, and pushes what both bless."""
        config = self._config
        code = fingerprint("serving", "components")
        indexer = self._add(
            ScannIndexer(
                towers=towers,
                embeddings=embeddings,
                index=config.index,
                about={
                    "pipeline": config.name,
                    "config": config.model_dump(
                        include={"interactions", "candidates", "model", "training"},
                        # A path of this machine; another checkout is the same data.
                        exclude={
                            "interactions": {"schema_file"},
                            "candidates": {"schema_file"},
                        },
                    ),
                },
                fingerprint=code,
            )
        )
        model = indexer.outputs["model"]
        index_evaluator = self._add(
            IndexEvaluator(
                model=model,
                interactions=interactions,
                query_id=config.interactions.query_id,
                candidate_id=config.interactions.candidate_id,
                config=config.evaluation,
                fingerprint=code,
            )
        )
        evaluator = self._evaluator(model, interactions, code)
        self._add(
            AtomicPusher(
                model=model,
                model_blessing=evaluator.outputs["blessing"],
                infra_blessing=index_evaluator.outputs["blessing"],
                evaluation=index_evaluator.outputs["evaluation"],
                push_destination=pusher_pb2.PushDestination(
                    filesystem=pusher_pb2.PushDestination.Filesystem(
                        base_directory=self._layout.serving
                    )
                ),
                fingerprint=code,
            ),
            "Pusher",
        )

    def _evaluator(
        self, model: types.BaseChannel, interactions: types.BaseChannel, code: str
    ) -> Evaluator:
        """Judges the servable by slice, against the latest blessed one."""
        baseline = self._add(
            Resolver(
                strategy_class=LatestOtherBlessedModelStrategy,
                candidate=model,
                model=types.Channel(type=standard_artifacts.Model),
                model_blessing=types.Channel(type=standard_artifacts.ModelBlessing),
            ),
            "LatestBlessedModel",
        )
        return self._add(
            Evaluator(
                examples=interactions,
                model=model,
                baseline_model=baseline.outputs["model"],
                example_splits=["eval"],
                schema=self._schemas[INTERACTIONS],
                eval_config=make_eval_config(
                    self._config.interactions.candidate_id,
                    self._config.evaluation,
                    code,
                ),
            )
        )


def _split(config: InteractionsConfig) -> dict:
    """Returns the split as ExampleGen reads it, with the features it goes by."""
    split = config.split.model_dump()
    if config.split.method == "random":
        keys = [config.query_id, config.candidate_id, config.timestamp]
        split["keys"] = [key for key in keys if key]
    if config.split.method == "time":
        split["timestamp"] = config.timestamp
    return split
