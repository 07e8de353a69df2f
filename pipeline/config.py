# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The configuration of a pipeline: typed, checked at once, overridable key by key."""

import datetime
import difflib
import os
import re
from typing import Annotated, Any, Literal, TypeAlias

import pydantic
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from components.columns import WEIGHT_FEATURE, Column, Kind
from pipeline import yaml_file
from pipeline.source_check import check_source
from pipeline.sources import (
    SOURCE_KEYS,
    BigQuerySource,
    CsvSource,
    JsonLinesSource,
    ParquetSource,
    Source,
    Text,
    TfdsSource,
    TfRecordSource,
    make_absolute,
)
from serving import s3
from serving.errors import UserError
from serving.evaluation.config import EvaluationConfig
from serving.index_config import IndexConfig
from serving.registry.config import RegistryConfig
from trainer.config import ModelConfig, TrainingConfig
from trainer.feature_config import (
    FEATURE_TYPES,
    CategoriesFeature,
    CategoryFeature,
    Features,
    IdFeature,
    NumberFeature,
    spelled_out,
)
from trainer.tuner_config import TunerConfig, space_of


class _Strict(BaseModel):
    """A part of the config: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


SECTIONS = ("interactions", "queries", "candidates")
"""The parts of a config that have a source."""

TAKEN_NAMES = ("k", "exclude", "leaves_to_search", "reorder", "self")
"""Names that requests have a use of their own for."""
FEATURE_NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)
"""What the inputs of a SavedModel's signature may be called."""
# TensorFlow renames or refuses arguments of signatures with other names.

Fraction = Annotated[float, Field(ge=0, le=1)]


class _FractionSplit(_Strict):
    """Shares of the interactions a split."""

    fractions: dict[Literal["train", "valid", "eval"], Fraction] = {
        "train": 0.8,
        "eval": 0.2,
    }
    """Shares of train, eval and (for early stopping) valid; they add up to 1."""

    @property
    def has_valid(self) -> bool:
        """Whether there is a split to watch training by."""
        return bool(self.fractions.get("valid"))

    @model_validator(mode="after")
    def _adds_up(self) -> "_FractionSplit":
        total = sum(self.fractions.values())
        if abs(total - 1) > 1e-6:
            raise ValueError(
                f"the fractions add up to {total:g}; make them add up to 1"
            )
        for name in ("train", "eval"):
            if not self.fractions.get(name):
                raise ValueError(
                    f"the split '{name}' is empty; give it a share above 0"
                )
        return self


class RandomSplit(_FractionSplit):
    """By a seeded hash: no order plays a part."""

    method: Literal["random"]
    by: Literal["interaction", "query", "within_query"] = "interaction"
    """Draw single interactions; or whole queries, such as sessions; or these shares of
    each query's interactions, rounded down but at least one a split: queries with fewer
    than three interactions then train only."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 42
    """Another seed is another split."""


class TimeSplit(_FractionSplit):
    """By time: the oldest interactions train, the newest evaluate."""

    method: Literal["time"]


class LeaveLastOutSplit(_Strict):
    """Query by query: its last interaction evaluates.

    Queries with fewer than three interactions train only.
    """

    method: Literal["leave_last_out"]
    valid: bool = False
    """Whether the interaction before the last one validates."""

    @property
    def has_valid(self) -> bool:
        """Whether there is a split to watch training by."""
        return self.valid


class ShuffleSplit(_Strict):
    """tf.data's shuffle of the whole data set, as the TFRS tutorial splits.

    It depends on the order of the source; for reproducing that tutorial only.
    """

    method: Literal["shuffle"]
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 42
    """Of tf.random and of the shuffle."""
    counts: dict[Literal["train", "valid", "eval"], PositiveInt]
    """Interactions a split, taken in this order."""

    @property
    def has_valid(self) -> bool:
        """Whether there is a split to watch training by."""
        return "valid" in self.counts

    @model_validator(mode="after")
    def _none_is_empty(self) -> "ShuffleSplit":
        for name in ("train", "eval"):
            if name not in self.counts:
                raise ValueError(f"the split '{name}' is empty; give it a count")
        return self


Split = Annotated[
    RandomSplit | TimeSplit | LeaveLastOutSplit | ShuffleSplit,
    Field(discriminator="method"),
]


class SignalConfig(_Strict):
    """Which interactions count, and how much; by default all alike."""

    value: Text | None = None
    """The column with a rating or a count."""
    min_value: float | None = None
    """Interactions with a smaller value, or none, are left out."""
    scale: Literal["none", "linear", "log"] = "none"
    """How the value weighs in the loss: not, as it is, or as log(1 + value)."""
    event: Text | None = None
    """The column with the type of the interaction."""
    event_weights: dict[Text, PositiveFloat] = {}
    """What each type weighs in the loss; interactions of other types are left out."""
    deduplicate: Literal["none", "first", "last", "sum"] = "none"
    """Of several interactions of a query with a candidate keep all, the first, the
    last, or one with all their weight."""
    min_query_interactions: PositiveInt = 1
    """Queries with fewer are left out."""
    min_candidate_interactions: PositiveInt = 1
    """Candidates with fewer are left out of the interactions."""
    half_life_days: PositiveFloat | None = None
    """Age at which an interaction weighs half in the loss; needs a timestamp."""

    @model_validator(mode="after")
    def _columns_are_named(self) -> "SignalConfig":
        if not self.value and (self.min_value is not None or self.scale != "none"):
            raise ValueError("min_value and scale need a value; name its column")
        if bool(self.event) != bool(self.event_weights):
            raise ValueError("event and event_weights go together; give both or none")
        return self


class InteractionsConfig(_Strict):
    """The log of who chose what, when."""

    source: Source
    """Where it comes from: csv, parquet, jsonl, tfrecord, tfds or bigquery."""
    query_id: Text
    """The column that says who: a user, or a session."""
    candidate_id: Text
    """The column that says what."""
    timestamp: Text | None = None
    """The column that says when."""
    timestamp_unit: Literal["s", "ms", "us", "ns"] = "s"
    """Of whole-number timestamps, since 1970 UTC."""
    timestamp_format: str | None = None
    """Of timestamps as text, as strptime takes it; null: ISO 8601."""
    features: Features = {}
    """What else is known of the query, by column; requests carry it."""
    learn_id: bool = True
    """Learn an embedding for each query id; false: tell queries by features alone."""
    signal: SignalConfig = SignalConfig()
    """Which interactions count, and how much."""
    split: Split = RandomSplit(method="random")
    """How it is parted into train, eval and, if wanted, valid."""
    schema_file: str | None = Field(default=None, alias="schema")
    """A curated schema (.pbtxt), relative to the config; null: inferred."""
    orphans: Literal["stop", "drop"] = "stop"
    """What to do with interactions whose candidate is not in the catalogue."""

    @property
    def all_features(self) -> Features:
        """The features of the query tower, its id first."""
        return _with_id(self.query_id, self.learn_id, self.features)

    @field_validator("split", mode="before")
    @classmethod
    def _random_unless_said(cls, split: Any) -> Any:
        return {"method": "random", **split} if isinstance(split, dict) else split

    @model_validator(mode="after")
    def _split_fits(self) -> "InteractionsConfig":
        by_time = self.split.method in ("time", "leave_last_out")
        if by_time and not self.timestamp:
            raise ValueError(
                f"split.method: {self.split.method} needs a timestamp; name the column "
                "that holds it"
            )
        if self.split.method == "shuffle" and not isinstance(self.source, TfdsSource):
            raise ValueError(
                "split.method: shuffle goes by the order of a TFDS dataset; choose "
                "random or time for this source"
            )
        return self

    @model_validator(mode="after")
    def _time_is_there(self) -> "InteractionsConfig":
        if self.signal.half_life_days and not self.timestamp:
            raise ValueError(
                "signal.half_life_days: it needs a timestamp; name the column that "
                "holds it"
            )
        for key in ("timestamp_unit", "timestamp_format"):
            default = type(self).model_fields[key].default
            if not self.timestamp and getattr(self, key) != default:
                raise ValueError(
                    f"{key}: there is no timestamp; name the column that holds it, or "
                    "take this out"
                )
        if self.timestamp_format is not None:
            _check_time_format("timestamp_format", self.timestamp_format)
        return self

    @model_validator(mode="after")
    def _outcome_is_no_feature(self) -> "InteractionsConfig":
        outcomes = {
            self.candidate_id: "candidate_id",
            self.signal.value: "signal.value",
            self.signal.event: "signal.event",
        }
        for name in self.features:
            if name in outcomes:
                raise ValueError(
                    f"features.{name}: it is {outcomes[name]} too, which is known only "
                    "after the interaction, so that a request can't carry it; take it "
                    "out of the features"
                )
        return self

    @model_validator(mode="after")
    def _features_are_there(self) -> "InteractionsConfig":
        _check_features(self.all_features)
        if self.query_id == self.candidate_id:
            raise ValueError(
                f"candidate_id: '{self.candidate_id}' is the query_id already; name "
                "the column that says what was chosen"
            )
        columns = {column.name for column in columns_of(self)}
        for name, feature in self.features.items():
            if feature.type == "history" and name in columns:
                raise ValueError(
                    f"features.{name}: a history is made from the log and '{name}' is "
                    "a column of it; give the history another name"
                )
        return self


class QueriesConfig(_Strict):
    """A table of what is known of queries, such as users, joined to the log by id."""

    source: Source
    """Where it comes from: csv, parquet, jsonl, tfrecord, tfds or bigquery."""
    query_id: Text
    """The column that identifies a query."""
    features: Annotated[Features, Field(min_length=1)]
    """What is known of it, by column; requests carry it."""
    schema_file: str | None = Field(default=None, alias="schema")
    """A curated schema (.pbtxt), relative to the config; null: inferred."""
    duplicates: Literal["stop", "keep_one"] = "stop"
    """What to do with several rows of one id."""

    @model_validator(mode="after")
    def _features_are_there(self) -> "QueriesConfig":
        _refuse_history(self.features, "a table holds no history")
        _check_time_formats(self.features)
        if self.query_id in self.features:
            raise ValueError(
                f"features.{self.query_id}: the id is a feature of its own already; "
                "see interactions.learn_id"
            )
        columns_of(self)
        return self


Attributes = dict[
    Text,
    Annotated[
        CategoryFeature | CategoriesFeature | NumberFeature,
        Field(discriminator="type"),
        BeforeValidator(spelled_out),
    ],
]


class CandidatesConfig(_Strict):
    """The catalogue."""

    source: Source
    """Where it comes from: csv, parquet, jsonl, tfrecord, tfds or bigquery."""
    candidate_id: Text
    """The column that identifies a candidate."""
    title: Text | None = None
    """The column to show for it; null: its id."""
    features: Features = {}
    """What else is known of the candidate, by column."""
    attributes: Attributes = {}
    """What requests may filter by, by column, declared as features are: category,
    categories or number. The towers don't read them."""
    learn_id: bool = True
    """Learn an embedding for each candidate; false: by features alone."""
    schema_file: str | None = Field(default=None, alias="schema")
    """A curated schema (.pbtxt), relative to the config; null: inferred."""
    duplicates: Literal["stop", "keep_one"] = "stop"
    """What to do with several candidates of one id."""

    @property
    def all_features(self) -> Features:
        """The features of the candidate tower, its id first."""
        return _with_id(self.candidate_id, self.learn_id, self.features)

    @model_validator(mode="after")
    def _features_are_there(self) -> "CandidatesConfig":
        _check_features(self.all_features)
        _refuse_history(self.features, "a candidate has no history")
        columns_of(self)
        return self


def _with_id(name: str, learn: bool, features: Features) -> Features:
    """Puts the id's own feature before the others."""
    return {**({name: IdFeature()} if learn else {}), **features}


def _check_features(features: Features) -> None:
    """Refuses a tower without features, and formats of time that are none."""
    if not features:
        raise ValueError(
            "learn_id: it is false and there are no features; declare some"
        )
    _check_time_formats(features)


def _check_time_formats(features: Features) -> None:
    for name, feature in features.items():
        time_format = getattr(feature, "format", None)
        if time_format is not None:
            _check_time_format(f"features.{name}.format", time_format)


def _check_time_format(key: str, time_format: str) -> None:
    """Refuses what strptime can't read, and what says no year."""
    moment = datetime.datetime(2001, 2, 3, 4, 5, 6, tzinfo=datetime.timezone.utc)
    try:
        read = datetime.datetime.strptime(moment.strftime(time_format), time_format)
    except ValueError as error:
        problem = str(error)
    else:
        problem = "" if read.year == moment.year else "it says no year"
    if problem:
        raise ValueError(
            f"{key}: '{time_format}' is no format of times ({problem}); write it as "
            "strptime takes it, e.g. '%Y-%m-%d %H:%M:%S'"
        )


def _keys_of(
    section: str, id_key: str, part: "InteractionsConfig | CandidatesConfig"
) -> dict[str, str]:
    """Returns the path to what declares each feature of a tower."""
    return {
        name: f"{section}.features.{name}"
        if name in part.features
        else f"{section}.{id_key}"
        for name in part.all_features
    }


def _check_names(keys: dict[str, str]) -> None:
    """Refuses features, by the path to each, that a request can't tell by name."""
    seen: dict[str, str] = {}
    for name, key in keys.items():
        if name in TAKEN_NAMES:
            raise ValueError(
                f"{key}: requests have a use of their own for '{name}'; give the "
                "column another name by source.rename"
            )
        if not FEATURE_NAME.fullmatch(name):
            raise ValueError(
                f"{key}: a request can't name a feature '{name}'; give the column a "
                "name of letters, digits and '_', a letter first, by source.rename"
            )
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise ValueError(
                f"{key}: a request can't tell '{name}' from '{other}'; rename one"
            )


def _refuse_history(features: Features, reason: str) -> None:
    for name, feature in features.items():
        if feature.type == "history":
            raise ValueError(
                f"features.{name}: {reason}; declare it under interactions"
            )


TableConfig: TypeAlias = "InteractionsConfig | QueriesConfig | CandidatesConfig"
"""The part of the config that says what to read from one source."""


def columns_of(config: TableConfig) -> list[Column]:
    """Returns what to read from a source, its id first.

    Raises:
      ValueError: A column is declared to be two things at once.
    """
    wanted = []
    if not isinstance(config, CandidatesConfig):
        wanted.append(Column(config.query_id, Kind.TEXT, required=True))
    if not isinstance(config, QueriesConfig):
        wanted.append(Column(config.candidate_id, Kind.TEXT, required=True))
    if isinstance(config, InteractionsConfig):
        if config.timestamp:
            wanted.append(
                Column(
                    config.timestamp,
                    Kind.TIMESTAMP,
                    required=True,
                    unit=config.timestamp_unit,
                    time_format=config.timestamp_format,
                )
            )
        if config.signal.value:
            wanted.append(Column(config.signal.value, Kind.NUMBER))
        if config.signal.event:
            wanted.append(Column(config.signal.event, Kind.TEXT))
    if isinstance(config, CandidatesConfig) and config.title:
        wanted.append(Column(config.title, Kind.TEXT))
    for name, feature in config.features.items():
        wanted += feature_columns(name, feature)
    if isinstance(config, CandidatesConfig):
        for name, attribute in config.attributes.items():
            wanted += feature_columns(name, attribute)
    columns: dict[str, Column] = {}
    for column in wanted:
        if column.name == WEIGHT_FEATURE:
            raise ValueError(
                f"the name '{WEIGHT_FEATURE}' is kept for what an interaction counts; "
                "rename the column"
            )
        known = columns.setdefault(column.name, column)
        if known.kind != column.kind:
            raise ValueError(
                f"the column '{column.name}' can't be {known.kind.value} and "
                f"{column.kind.value} at once; declare it once, or copy the column"
            )
    return list(columns.values())


def feature_columns(name: str, feature: Any) -> list[Column]:
    """Returns the columns that a feature is read from: one, or none for a history."""
    if feature.type == "history":
        return []
    kinds = {
        "categories": Kind.TEXTS,
        "number": Kind.NUMBER,
        "timestamp": Kind.TIMESTAMP,
        "embedding": Kind.VECTOR,
    }
    return [
        Column(
            name,
            kinds.get(feature.type, Kind.TEXT),
            separator=getattr(feature, "separator", None),
            unit=getattr(feature, "unit", "s"),
            time_format=getattr(feature, "format", None),
            dimensions=getattr(feature, "dimensions", 0),
        )
    ]


class StatisticsConfig(_Strict):
    """What StatisticsGen computes; schemas and validation go by it."""

    sample_rate: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the rows to look at, evenly spread, the same in every run. What is in
    few rows, such as a missing id, may then be found only by ExampleCleaner."""
    num_top_values: PositiveInt = 20
    """Most frequent values that are kept of a text feature."""
    num_rank_histogram_buckets: PositiveInt = 1000
    """Most frequent values that are in the histogram of a text feature."""


class ValidationConfig(_Strict):
    """What is held against the data before anything is trained on it."""

    mode: Literal["strict", "warn"] = "strict"
    """What a finding does: it stops the run, or is told while the run goes on."""
    max_drift: Fraction | None = 0.3
    """Most that a declared feature may differ from the span before: the largest
    difference of a value's share, or, of numbers, the Jensen-Shannon divergence; null:
    not checked. Spans are numbered in the paths of sources."""
    max_skew: Fraction | None = 0.3
    """The same between the train and the eval split."""
    max_new_values: Fraction | None = None
    """Largest share of held-out interactions with a value of a declared feature, or an
    id, that training has not seen; null: it is told only."""
    ignore: list[Text] = []
    """Features whose findings are told but never stop the run."""


class BeamRunnerConfig(_Strict):
    """What runs a Beam pipeline."""

    runner: Literal[
        "DirectRunner", "PortableRunner", "FlinkRunner", "SparkRunner", "DataflowRunner"
    ] = "DirectRunner"
    """DirectRunner is this machine, in memory; the others are told where to go by
    `args`."""
    args: list[str] = []
    """More arguments for Beam, e.g. --direct_num_workers=2."""


_NEEDED: dict[str, dict[str, str]] = {
    "DirectRunner": {},
    "PortableRunner": {"--job_endpoint": "HOST:8099"},
    "FlinkRunner": {"--flink_master": "HOST:8081"},
    "SparkRunner": {"--spark_master_url": "spark://HOST:7077"},
    "DataflowRunner": {
        "--project": "ID",
        "--region": "europe-west4",
        "--temp_location": "gs://BUCKET/FOLDER",
    },
}
"""Arguments without which a runner would do something else, or nothing."""
_STAGING = {
    "--sdk_container_image", "--environment_type", "--environment_config",
    "--setup_file", "--extra_package",
}  # fmt: skip
"""Arguments that say how workers get this project."""


def _is_elsewhere(one: BeamRunnerConfig) -> bool:
    """Tells whether workers start without what is installed here."""
    return one.runner != "DirectRunner"


class BeamConfig(BeamRunnerConfig):
    """What runs the nodes that are Beam pipelines."""

    nodes: dict[str, BeamRunnerConfig] = {}
    """By node, as `shortlist run` names them: what runs it in place of the above."""


_MEMORY = re.compile(r"(\d+(?:\.\d+)?)([MGT])", re.ASCII)
_GB = {"M": 1e-3, "G": 1.0, "T": 1e3}


class ResourcesConfig(_Strict):
    """What a container may use; null: what the cluster gives."""

    cpu: PositiveFloat | None = None
    """Cores."""
    memory: Annotated[str, Field(pattern=f"^{_MEMORY.pattern}$")] | None = None
    """Such as 512M, 16G or 1.5T."""
    gpu: Annotated[int, Field(ge=0)] = 0
    """Accelerators."""
    gpu_type: str = "nvidia.com/gpu"
    """As Kubernetes names it; Vertex has names such as NVIDIA_TESLA_T4."""

    @property
    def memory_gb(self) -> float | None:
        """The memory in gigabytes of 10^9 bytes."""
        found = _MEMORY.fullmatch(self.memory or "")
        return float(found[1]) * _GB[found[2]] if found else None


class ContainersConfig(_Strict):
    """How nodes run on Kubeflow and Vertex, where each is a container."""

    image: Text | None = None
    """What docker/pipeline.Dockerfile makes, where the cluster can pull it."""
    resources: dict[str, ResourcesConfig] = {}
    """By node, as `shortlist run` names them; `default` is for all others."""
    retries: Annotated[int, Field(ge=0)] = 0
    """How often a node that failed is tried again."""


class DatabaseConfig(_Strict):
    """A database server with ML Metadata in it."""

    host: Text
    port: Annotated[int, Field(gt=0, lt=65536)]
    database: Text
    user: Text
    password_file: Text | None = None
    """File with the password, read when it is needed."""

    def password(self) -> str | None:
        """Reads the password.

        Raises:
          UserError: The file can't be read.
        """
        return _read_secret("metadata", "password_file", self.password_file)


class MetadataConfig(_Strict):
    """Where ML Metadata is."""

    # Not PostgreSQL: ML Metadata 1.16 quotes texts with a backslash wrongly there, and
    # Evaluator's config has some.
    mysql: DatabaseConfig | None = None
    """MySQL or MariaDB; null: SQLite beside the runs."""


def _read_secret(section: str, key: str, path: str | None) -> str | None:
    """Reads a file with a secret in it, None for no file."""
    if path is None:
        return None
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except OSError as error:
        raise UserError(
            f"{section}.{key}: can't read {path}: {error.strerror}"
        ) from None


class KubeflowConfig(_Strict):
    """Where `shortlist submit --runner kubeflow` goes."""

    host: Text | None = None
    """Address of Kubeflow Pipelines, such as http://localhost:8080."""
    namespace: Text | None = None
    """Of a user, where Kubeflow has many."""
    experiment: Text = "Default"
    """Under which Kubeflow shows the run."""
    token_file: Text | None = None
    """File with a bearer token, read when it is needed."""

    def token(self) -> str | None:
        """Reads the token.

        Raises:
          UserError: The file can't be read.
        """
        return _read_secret("kubeflow", "token_file", self.token_file)


class VertexConfig(_Strict):
    """Where `shortlist submit --runner vertex` goes."""

    project: Text | None = None
    region: Text | None = None
    """Such as europe-west4."""
    service_account: Text | None = None
    """In whose name the nodes run; null: the project's default."""
    network: Text | None = None
    """Full name of a network that the nodes are to be in."""
    endpoint: Text | None = None
    """Another address of the API, such as that of Private Service Connect."""


class PipelineConfig(_Strict):
    """One pipeline, from its sources to its gates."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    """Its name, and the name of its folder below the root."""
    data_dir: Text = "data"
    """Where prepared data sets are cached."""
    interactions: InteractionsConfig
    queries: QueriesConfig | None = None
    """Null: nothing more is known of queries than the interactions say."""
    candidates: CandidatesConfig | None = None
    """Null: the catalogue is what was interacted with."""
    statistics: StatisticsConfig = StatisticsConfig()
    validation: ValidationConfig = ValidationConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    tuner: TunerConfig = TunerConfig()
    index: IndexConfig = IndexConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    embedding_batch_size: PositiveInt = 4096
    """Candidates embedded in one call into the tower."""
    beam: BeamConfig = BeamConfig()
    containers: ContainersConfig = ContainersConfig()
    metadata: MetadataConfig = MetadataConfig()
    registry: RegistryConfig = RegistryConfig()
    kubeflow: KubeflowConfig = KubeflowConfig()
    vertex: VertexConfig = VertexConfig()

    @property
    def query_features(self) -> Features:
        """The features of the query tower, its id first."""
        joined = self.queries.features if self.queries else {}
        return {**self.interactions.all_features, **joined}

    @model_validator(mode="after")
    def _requests_can_be_read(self) -> "PipelineConfig":
        queries, candidates = self.queries, self.candidates
        _check_names(
            {
                **_keys_of("interactions", "query_id", self.interactions),
                **(
                    {f: f"queries.features.{f}" for f in queries.features}
                    if queries
                    else {}
                ),
            }
        )
        _check_names(
            _keys_of("candidates", "candidate_id", candidates)
            if candidates
            else {self.interactions.candidate_id: "interactions.candidate_id"}
        )
        return self

    @model_validator(mode="after")
    def _what_watches_valid_has_it(self) -> "PipelineConfig":
        split = self.interactions.split
        if split.has_valid:
            return self
        mend = (
            "set interactions.split.valid to true"
            if split.method == "leave_last_out"
            else "give interactions.split a share for valid"
        )
        if self.training.early_stopping_patience:
            key, use = "training.early_stopping_patience", "watch"
        elif self.tuner.trials:
            key, use = "tuner.trials", "choose by"
        else:
            return self
        raise ValueError(
            f"{key}: there is no valid split to {use}; {mend}, or set this to 0"
        )

    @model_validator(mode="after")
    def _tuner_can_try_its_space(self) -> "PipelineConfig":
        space_of(self.tuner, self.model, self.training)
        if self.tuner.trials and self.training.distribution == "multi_worker":
            raise ValueError(
                "tuner.trials: a search is of one machine, and training.distribution "
                "is multi_worker; set one of them to 0 or none"
            )
        return self

    @model_validator(mode="after")
    def _warm_start_has_not_seen_eval(self) -> "PipelineConfig":
        split = self.interactions.split
        by = getattr(split, "by", split.method)
        if self.training.warm_start and by in ("within_query", "shuffle"):
            raise ValueError(
                f"training.warm_start: with a split by {by}, new interactions move old "
                "ones from train to eval, which the last model has learned; choose "
                "another interactions.split, or set this to false"
            )
        return self

    @model_validator(mode="after")
    def _shards_are_not_judged_by_evaluator(self) -> "PipelineConfig":
        bound = self.evaluation.gates.min_top_k_accuracy
        if self.index.shards > 1 and bound is not None:
            raise ValueError(
                "evaluation.gates.min_top_k_accuracy: Evaluator checks it, which can't "
                "load a catalogue in shards; set it to null, or index.shards to 1"
            )
        return self

    @model_validator(mode="after")
    def _bigquery_has_a_project(self) -> "PipelineConfig":
        parts = (self.interactions, self.queries, self.candidates)
        for option in ("--project", "--temp_location"):
            given = any(one.startswith(f"{option}=") for one in self.beam.args)
            if not given and any(
                isinstance(part.source, BigQuerySource) for part in parts if part
            ):
                raise ValueError(
                    f"beam.args: BigQuery needs {option}; write [--project=ID, "
                    "--temp_location=gs://BUCKET/FOLDER]"
                )
        return self

    @model_validator(mode="after")
    def _beam_knows_where_to_go(self) -> "PipelineConfig":
        parts = {"beam": self.beam} | {
            f"beam.nodes.{node}": one for node, one in self.beam.nodes.items()
        }
        for key, one in parts.items():
            given = {arg.partition("=")[0] for arg in one.args}
            for option, example in _NEEDED[one.runner].items():
                if option not in given:
                    raise ValueError(
                        f"{key}.args: {one.runner} needs {option}; add "
                        f"{option}={example}"
                    )
            if (
                _is_elsewhere(one)
                and not given & _STAGING
                and not self.containers.image
            ):
                raise ValueError(
                    f"{key}: the workers of {one.runner} need this project; set "
                    "containers.image, or add --sdk_container_image=, --setup_file= or "
                    f"--environment_type=PROCESS to {key}.args"
                )
        return self

    def beam_args(self, node: str | None = None) -> list[str]:
        """Returns Beam's arguments for a node, or for those without any of their own.

        Workers elsewhere get this project by the image of the containers, where
        nothing else is said. Those here need none, but where no image is named TFX
        packs itself for each node, which takes seconds and leaves 53 MB behind.
        """
        one = self.beam if node is None else self.beam.nodes[node]
        given = {arg.partition("=")[0] for arg in one.args}
        name = self.containers.image if _is_elsewhere(one) else "none"
        image = [] if given & _STAGING else [f"--sdk_container_image={name}"]
        plugin = [s3.BEAM_PLUGIN] if s3.is_named(self.model_dump_json()) else []
        return [f"--runner={one.runner}", *image, *plugin, *one.args]

    @model_validator(mode="after")
    def _ignored_are_read(self) -> "PipelineConfig":
        parts = [p for p in (self.interactions, self.queries, self.candidates) if p]
        if any(isinstance(p.source, TfdsSource | TfRecordSource) for p in parts):
            return self  # They bring features that nobody declared.
        known = {name for part in parts for name in part.features}
        known |= {column.name for part in parts for column in columns_of(part)}
        for name in self.validation.ignore:
            if name not in known:
                near = difflib.get_close_matches(name, sorted(known), 1)
                mend = f"did you mean '{near[0]}'?" if near else "take it out"
                raise ValueError(
                    f"validation.ignore: no source has a feature '{name}'; {mend}"
                )
        return self

    @model_validator(mode="after")
    def _names_are_told_apart(self) -> "PipelineConfig":
        if self.queries:
            known = {column.name for column in columns_of(self.interactions)}
            for name in self.queries.features:
                if name in known or name in self.interactions.features:
                    raise ValueError(
                        f"queries.features.{name}: the interactions have a column or "
                        "feature of that name too; rename one, or declare it once"
                    )
        return self

    @property
    def catalogue(self) -> CandidatesConfig:
        """What is known of candidates; without a catalogue, their ids alone."""
        return self.candidates or CandidatesConfig(
            source=self.interactions.source,
            candidate_id=self.interactions.candidate_id,
        )


def load_config(
    path: str, overrides: list[str] | None = None, check_sources: bool = False
) -> PipelineConfig:
    """Reads a YAML config and applies `key.path=value` overrides.

    Args:
      path: The YAML file. Schema paths in it are relative to its folder.
      overrides: Values are read as YAML, so that `null`, `true` and `[1, 2]` work.
      check_sources: Whether to look at the local files that a run would read.

    Returns:
      The checked config, schema paths made absolute.

    Raises:
      UserError: The file can't be read, or a key, a value or a source is wrong.
    """
    file = yaml_file.read(path)
    for override in overrides or []:
        file.override(override)
    folder = os.path.dirname(os.path.abspath(path))
    for section in SECTIONS:
        part = file.tree.get(section)
        if not isinstance(part, dict):
            continue
        make_absolute(part.get("source"), folder)
        schema = part.get("schema")
        if isinstance(schema, str) and "://" not in schema:
            part["schema"] = os.path.normpath(os.path.join(folder, schema))
    try:
        config = PipelineConfig.model_validate(file.tree)
    except pydantic.ValidationError as error:
        location, problem = _explain(error)
        raise UserError(f"{file.where(tuple(location))}: {problem}") from None
    s3.register_where_named(config.model_dump_json())
    _check_files(file, config)
    if check_sources:
        _check_sources(file, config)
    return config


def _explain(error: pydantic.ValidationError) -> tuple[list[str], str]:
    """Returns where the first error of a validation is, and one sentence for it."""
    # A key that is misspelt explains one that is missing.
    errors = error.errors()
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    location, variant = _user_location(first["loc"])
    if first["type"] == "value_error":
        below, message = _told_by_validator(first["msg"])
        location += below
        return location, f"{'.'.join(location)}: {message}" if location else message
    return location, _sentence(first, location, variant)


def _told_by_validator(message: str) -> tuple[list[str], str]:
    """Parts a validator's message from the path that it may start with.

    A validator of a part of the config sees all of it, and so says where in it.
    """
    message = message.removeprefix("Value error, ")
    found = re.match(r"([a-z_]+(?:\.[^:]+)?): ", message)
    if not found:
        return [], message
    return found[1].split("."), message[found.end() :]


def _sentence(first: Any, location: list[str], variant: str) -> str:
    """Says what is wrong with a key, and the mend."""
    key = ".".join(location) or "the config"
    if first["type"] == "extra_forbidden":
        return f"unknown key '{key}'{_nearest(location, variant)}"
    if first["type"] == "missing":
        return f"the key '{key}' is missing; add it"
    if first["type"] == "union_tag_not_found" and location[-1] == "source":
        given = first["input"]
        got = ", ".join(map(str, given)) if isinstance(given, dict) else _shown(given)
        return (
            f"{key} needs exactly one of the keys {', '.join(SOURCE_KEYS)}, got "
            f"{got or 'none'}"
        )
    if first["type"] == "union_tag_not_found":
        tag = first["ctx"]["discriminator"].strip("'")
        return f"the key '{key}.{tag}' is missing; add it"
    if first["type"] == "union_tag_invalid":
        tag, expected = first["ctx"]["tag"], first["ctx"]["expected_tags"]
        name = first["ctx"]["discriminator"].strip("'")
        return f"{key}.{name}: input should be one of {expected}, got '{tag}'"
    return f"{key}: {_rule(first)}, got {_shown(first['input'])}{_mend(first)}"


_RULES = {
    "dict_type": "input should be keys with values",
    "model_type": "input should be keys with values",
    "model_attributes_type": "input should be keys with values",
    "string_pattern_mismatch": "input should be small letters, digits, '.', '_' and "
    "'-', a letter or digit first",
    "string_type": "input should be text",
    "too_short": "input should not be empty",
    "string_too_short": "input should not be empty",
}
"""What pydantic says in words of Python or of regular expressions, by its type."""


def _rule(first: Any) -> str:
    """Returns the rule that an error breaks, as a clause."""
    message = first["msg"]
    return _RULES.get(first["type"], message[:1].lower() + message[1:])


def _mend(first: Any) -> str:
    """Returns how to mend what YAML does not read as it was meant."""
    if first["type"] != "string_type":
        return ""
    if first["input"] is None:
        return "; give it a value or take the key out"
    if isinstance(first["input"], list | dict):
        return "; give one text"
    return ", which YAML takes for no text; put it in quotes"


def _shown(value: Any) -> str:
    """Returns a value as a sentence can hold it."""
    text = str(value) if isinstance(value, datetime.date) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


_VARIANTS: dict[str, dict[str, type[BaseModel]]] = {
    "source": {
        "csv": CsvSource,
        "parquet": ParquetSource,
        "jsonl": JsonLinesSource,
        "tfrecord": TfRecordSource,
        "tfds": TfdsSource,
        "bigquery": BigQuerySource,
    },
    "split": {
        "random": RandomSplit,
        "time": TimeSplit,
        "leave_last_out": LeaveLastOutSplit,
        "shuffle": ShuffleSplit,
    },
    "features": FEATURE_TYPES,
    "attributes": {n: FEATURE_TYPES[n] for n in ("category", "categories", "number")},
}
"""The kinds of each part that has kinds, by the tag that pydantic calls them by."""


def _user_location(location: tuple[int | str, ...]) -> tuple[list[str], str]:
    """Returns pydantic's path to an error as the user wrote it, and a variant's tag.

    Pydantic adds the tag of a discriminated union, and "[key]" for a wrong key.
    """
    parts = [str(part) for part in location if part != "[key]"]
    at = 3 if parts[1:2] in (["features"], ["attributes"]) else 2
    if parts[at:] and parts[at] in _VARIANTS.get(parts[1], {}):
        return parts[:at] + parts[at + 1 :], parts[at]
    return parts, ""


def all_keys() -> list[str]:
    """Returns every key path that a config may hold."""
    return sorted(_keys(PipelineConfig, ""))


def _keys(model: type[BaseModel], prefix: str) -> set[str]:
    """Returns the key paths below a model."""
    found = set()
    for name, field in model.model_fields.items():
        key = prefix + (field.alias or name)
        found.add(key)
        for part in _models_in(field.annotation):
            found |= _keys(part, f"{key}.")
    return found


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Returns the models that an annotation names, inside unions as well."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    arguments = getattr(annotation, "__args__", ())
    return [model for part in arguments for model in _models_in(part)]


def _nearest(location: list[str], variant: str) -> str:
    """Suggests the nearest key that exists, first among the siblings."""
    keys = all_keys()
    *parents, last = location
    prefix = "".join(f"{parent}." for parent in parents)
    siblings = [
        key.removeprefix(prefix)
        for key in keys
        if key.startswith(prefix) and "." not in key.removeprefix(prefix)
    ]
    if variant:
        model = _VARIANTS[parents[1]][variant]
        if any(last in one.model_fields for one in _VARIANTS[parents[1]].values()):
            return f"; it does not go with this kind of {parents[1]}, take it out"
        siblings = sorted(model.model_fields)
    near = difflib.get_close_matches(last, siblings, 1, 0.5)
    if near:
        return f"; did you mean '{prefix}{near[0]}'?"
    near = [key for key in keys if key.split(".")[-1] == last][:1]
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; the keys here are {', '.join(siblings)}"


def _check_files(file: yaml_file.YamlFile, config: PipelineConfig) -> None:
    """Checks what a config refers to."""
    for section in SECTIONS:
        part = getattr(config, section)
        schema = part and part.schema_file
        if not schema or "://" in schema:
            continue
        where = f"{file.where((section, 'schema'))}: {section}.schema names {schema}"
        if not os.path.isfile(schema):
            raise UserError(
                f"{where}, which is not there; mend the path or set it to null to "
                "infer one"
            )
        problem = _schema_problem(schema)
        if problem:
            raise UserError(
                f"{where}, which is no schema ({problem}); write it as TFX's "
                "schema.pbtxt, or set it to null to infer one"
            )


def _schema_problem(path: str) -> str | None:
    """Says why a file is no schema, or None."""
    # Late: few configs have a schema.
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    try:
        with open(path, encoding="utf-8") as file:
            text_format.Parse(file.read(), schema_pb2.Schema())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        return " ".join(str(error).split())
    return None


def _check_sources(file: yaml_file.YamlFile, config: PipelineConfig) -> None:
    """Looks at the files that a run will read."""
    for section in SECTIONS:
        part = getattr(config, section)
        if part:
            columns = columns_of(part)
            if section == "interactions" and not isinstance(
                part.source, TfRecordSource
            ):
                columns += _sliced(config, columns)
            check_source(file, section, part.source, columns)


def _sliced(config: PipelineConfig, columns: list[Column]) -> list[Column]:
    """Returns the columns that are read only to slice by."""
    known = {column.name for column in columns} | set(config.query_features)
    return [
        Column(name, Kind.TEXT)
        for name in config.evaluation.slices
        if name not in known
    ]
