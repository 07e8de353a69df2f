# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Submits a compiled pipeline to Vertex AI."""

import datetime
from typing import Any

from google.api_core import client_options
from google.cloud import aiplatform_v1
from google.protobuf import json_format

from pipeline.config import PipelineConfig, VertexConfig
from pipeline.layout import Layout
from pipeline.runners.submitted import Submitted
from serving.errors import UserError
from serving.google_cloud import refusal_told

_CONSOLE = "https://console.cloud.google.com/vertex-ai/locations/{}/pipelines/runs/{}"


def submit(
    config: PipelineConfig,
    job: dict[str, Any],
    parameters: dict[str, Any],
    layout: Layout,
) -> Submitted:
    """Submits a pipeline by Vertex AI's own client.

    Args:
      config: Whose `vertex` says where.
      job: From `containers.compile_pipeline`.
      parameters: Values of its parameters, where they are not the defaults.
      layout: Where its artifacts go.

    Raises:
      UserError: There are no credentials, or the project refuses the run.
    """
    where = config.vertex
    for key in ("project", "region"):
        if not getattr(where, key):
            raise UserError(
                f"vertex.{key} is not set: say where the pipeline is to run"
            )
    refusal = (
        f"Vertex AI refuses the pipeline in project {where.project}, region "
        f"{where.region}"
    )
    # Closed at the end: gRPC's threads may outlive the interpreter else.
    with refusal_told(refusal), _client(where) as client:
        made = client.create_pipeline_job(
            parent=f"projects/{where.project}/locations/{where.region}",
            pipeline_job=_job(where, job, parameters, layout),
            pipeline_job_id=_job_id(job),
        )
    run = made.name.rpartition("/")[2]
    page = f"{_CONSOLE.format(where.region, run)}?project={where.project}"
    return Submitted(made.name, page)


def _client(where: VertexConfig) -> aiplatform_v1.PipelineServiceClient:
    endpoint = where.endpoint or f"{where.region}-aiplatform.googleapis.com"
    return aiplatform_v1.PipelineServiceClient(
        client_options=client_options.ClientOptions(api_endpoint=endpoint)
    )


def _job(
    where: VertexConfig,
    job: dict[str, Any],
    parameters: dict[str, Any],
    layout: Layout,
) -> aiplatform_v1.PipelineJob:
    made = aiplatform_v1.PipelineJob(
        display_name=job["displayName"],
        service_account=where.service_account or "",
        network=where.network or "",
        runtime_config=aiplatform_v1.PipelineJob.RuntimeConfig(
            gcs_output_directory=layout.artifacts, parameter_values=parameters
        ),
    )
    spec = aiplatform_v1.PipelineJob.pb(made).pipeline_spec
    json_format.ParseDict(job["pipelineSpec"], spec)
    return made


def _job_id(job: dict[str, Any]) -> str:
    """Returns an id that no other run has: the pipeline's name and the time."""
    now = datetime.datetime.now(datetime.timezone.utc)
    return f"{job['pipelineSpec']['pipelineInfo']['name']}-{now:%Y%m%d%H%M%S}"
