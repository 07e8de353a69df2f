# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
#
# All of Shortlist, in which Kubeflow and Vertex run a pipeline's nodes; see
# docs/containers.md. From the root:
#     docker build -f docker/pipeline.Dockerfile -t shortlist-pipeline .
# For the stack `current` add
#     --build-arg STACK=current --build-arg PYTHON=3.13 --build-arg DEBIAN=trixie
ARG STACK=stable
ARG PYTHON=3.10
ARG DEBIAN=bookworm

# With a compiler: pyfarmhash and crcmod have no wheels.
FROM python:${PYTHON}-${DEBIAN} AS build
ARG STACK
WORKDIR /src
COPY requirements/bootstrap.lock requirements/${STACK}.lock requirements/
# What is built is built with the setuptools of the lock, as `make install` does.
RUN pip install --no-cache-dir --require-hashes -r requirements/bootstrap.lock \
    && uv venv --python /usr/local/bin/python /opt/shortlist \
    && uv pip sync --python /opt/shortlist/bin/python --no-cache \
        --require-hashes --build-constraints requirements/${STACK}.lock \
        requirements/${STACK}.lock
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

FROM python:${PYTHON}-slim-${DEBIAN}
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
