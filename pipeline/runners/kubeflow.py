# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Submits a compiled pipeline to Kubeflow Pipelines."""

import contextlib
import io
import os
import tempfile
from typing import Any

import kfp
import kfp_server_api
import urllib3

from pipeline.config import PipelineConfig
from pipeline.layout import Layout
from pipeline.runners import containers
from pipeline.runners.submitted import Submitted
from serving.errors import UserError

_NAMESPACE = "kubeflow"
"""Of an installation for one user."""


def submit(
    config: PipelineConfig,
    job: dict[str, Any],
    parameters: dict[str, Any],
    layout: Layout,
) -> Submitted:
    """Submits a pipeline by kfp's own client.

    Args:
      config: Whose `kubeflow` says where.
      job: From `containers.compile_pipeline`.
      parameters: Values of its parameters, where they are not the defaults.
      layout: Where its artifacts go.

    Raises:
      UserError: The host can't be reached, or refuses the run.
    """
    where = config.kubeflow
    if not where.host:
        raise UserError(
            "kubeflow.host is not set: give the address of Kubeflow Pipelines, such as "
            "http://localhost:8080 behind kubectl port-forward"
        )
    with tempfile.TemporaryDirectory(prefix="shortlist-") as folder:
        path = os.path.join(folder, "pipeline.yaml")
        containers.write(job, path, containers.KUBEFLOW)
        try:
            # It prints addresses, and standard output is for results.
            with contextlib.redirect_stdout(io.StringIO()):
                client = kfp.Client(
                    host=where.host,
                    namespace=where.namespace or _NAMESPACE,
                    existing_token=where.token(),
                )
                run = client.create_run_from_pipeline_package(
                    path,
                    arguments=parameters,
                    run_name=config.name,
                    experiment_name=where.experiment,
                    namespace=where.namespace,
                    pipeline_root=layout.artifacts,
                )
        except kfp_server_api.ApiException as error:
            raise UserError(_refusal(where.host, error)) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise UserError(
                f"can't reach Kubeflow Pipelines at {where.host} "
                f"({type(error).__name__}): check kubeflow.host and the network"
            ) from None
    return Submitted(
        run.run_id, f"{where.host.rstrip('/')}/#/runs/details/{run.run_id}"
    )


def _refusal(host: str, error: kfp_server_api.ApiException) -> str:
    """Says why a host refused a request."""
    if error.status in (401, 403):
        return (
            f"{host} refuses the credentials (HTTP {error.status}): check "
            "kubeflow.token_file and kubeflow.namespace"
        )
    lines = (error.body or error.reason or "").strip().splitlines()
    return f"{host} refuses the pipeline (HTTP {error.status}): {' '.join(lines)[:300]}"
