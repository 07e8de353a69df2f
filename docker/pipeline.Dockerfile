# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
#
# All of Shortlist, in which Kubeflow and Vertex run a pipeline's nodes; see
# docs/containers.md. From the root:
#     docker build -f docker/pipeline.Dockerfile -t shortlist-pipeline .

# With a compiler: pyfarmhash and crcmod have no wheels.
FROM python:3.10-bookworm AS build
WORKDIR /src
COPY requirements/bootstrap.lock requirements/stable.lock requirements/
# What is built is built with the setuptools of the lock, as `make install` does.
RUN pip install --no-cache-dir --require-hashes -r requirements/bootstrap.lock \
    && uv venv --python /usr/local/bin/python /opt/shortlist \
    && uv pip sync --python /opt/shortlist/bin/python --no-cache \
        --require-hashes --build-constraints requirements/stable.lock \
        requirements/stable.lock
COPY setup.py README.md ./
COPY requirements/common.in requirements/stable.in requirements/current.in \
    requirements/
COPY pipeline pipeline
COPY components components
COPY trainer trainer
COPY serving serving
RUN uv pip install --python /opt/shortlist/bin/python --no-cache --no-deps \
        --no-build-isolation . \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        /opt/shortlist/lib

FROM python:3.10-slim-bookworm
LABEL org.opencontainers.image.title="Shortlist pipeline" \
    org.opencontainers.image.description="Nodes of a Shortlist pipeline, for Kubeflow and Vertex" \
    org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/shortlist /opt/shortlist
# Beam's workers import TensorFlow before anything of ours, which would choose Keras 2.
ENV PATH=/opt/shortlist/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    TF_USE_LEGACY_KERAS=1
WORKDIR /workspace
# No user and no entry point: the compiled pipeline says what runs, see
# pipeline/runners/container.py, and folders that are mounted, such as /gcs, may be root's.
