# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
#
# `shortlist serve` over the models in /models; see docs/containers.md. From the root:
#     docker build -f docker/server.Dockerfile -t shortlist-server .
# For the stack `current` add
#     --build-arg STACK=current --build-arg PYTHON=3.13 --build-arg DEBIAN=trixie
ARG STACK=stable
ARG PYTHON=3.10
ARG DEBIAN=bookworm

FROM python:${PYTHON}-slim-${DEBIAN} AS build
ARG STACK
WORKDIR /src
COPY requirements/bootstrap.lock requirements/${STACK}-serving.lock requirements/
# Wheels only: what has to be built would need a compiler, and run foreign code here.
RUN pip install --no-cache-dir --require-hashes -r requirements/bootstrap.lock \
    && uv venv --python /usr/local/bin/python /opt/shortlist \
    && uv pip sync --python /opt/shortlist/bin/python --no-cache --no-build \
        --require-hashes requirements/${STACK}-serving.lock
COPY setup.py README.md ./
COPY requirements/common.in requirements/stable.in requirements/current.in \
    requirements/
COPY pipeline pipeline
COPY serving serving
RUN uv pip install --python /opt/shortlist/bin/python --no-cache --no-deps \
    --no-build-isolation .
# Headers for those who build TensorFlow's extensions: 0.17 GB. Bytecode is compiled
# here, as nothing can be written later; its sources, which do not change, are not
# looked at then.
RUN rm -r /opt/shortlist/lib/python*/site-packages/tensorflow/include \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        /opt/shortlist/lib

FROM python:${PYTHON}-slim-${DEBIAN}
LABEL org.opencontainers.image.title="Shortlist server" \
    org.opencontainers.image.description="TensorFlow Serving's API over models that Shortlist has pushed" \
    org.opencontainers.image.licenses="Apache-2.0"
# The image comes without the bytecode of Python's own library.
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        -x 'ensurepip|idlelib|lib2to3|site-packages|tkinter|turtledemo' \
        /usr/local/lib/python3.* \
    && useradd --system --uid 10001 --user-group --no-create-home --home-dir / \
        --shell /usr/sbin/nologin shortlist
COPY --from=build /opt/shortlist /opt/shortlist
ENV PATH=/opt/shortlist/bin:$PATH PYTHONDONTWRITEBYTECODE=1
# By number, so that Kubernetes' runAsNonRoot can tell that it is not root.
USER 10001:10001
EXPOSE 8500 8501
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=2m --retries=3 \
    CMD ["python", "-ISc", "import urllib.request as r; r.urlopen('http://127.0.0.1:8501/readyz', timeout=2)"]
ENTRYPOINT ["shortlist", "serve", "--host", "0.0.0.0"]
CMD ["--root", "/models"]
