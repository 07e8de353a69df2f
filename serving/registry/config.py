# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Which registry, and what becomes of what is pushed."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Text = Annotated[str, Field(min_length=1)]


class VertexRegistryConfig(BaseModel):
    """Vertex AI's Model Registry."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    project: Text
    region: Text
    """Such as europe-west4."""


class RegistryConfig(BaseModel):
    """Where pushed models are registered; neither: nowhere."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mlflow: Text | None = None
    """Address of an MLflow server, such as http://localhost:5000."""
    vertex: VertexRegistryConfig | None = None
    name: Annotated[str, Field(pattern=r"^[^/@:]+$")] | None = None
    """Of the model; null: the pipeline's."""
    alias: Literal["champion", "challenger"] = "champion"
    """What a model becomes that passed its gates."""

    @model_validator(mode="after")
    def _is_one(self) -> "RegistryConfig":
        if self.mlflow and self.vertex:
            raise ValueError("mlflow and vertex are two registries; take one out")
        return self

    @property
    def is_there(self) -> bool:
        """Whether there is a registry at all."""
        return bool(self.mlflow or self.vertex)
