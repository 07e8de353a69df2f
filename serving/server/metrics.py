# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Prometheus metrics: TensorFlow Serving's by their names, and our own."""

import functools
from collections import Counter as Counts
from collections.abc import Callable, Iterator
from typing import Any

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from serving.server.failure import Code

_REQUESTS = ":tensorflow:serving:request_count"
_LATENCY_US = (
    100, 200, 300, 500, 750, 1_000, 1_500, 2_000, 3_000, 5_000, 7_500, 10_000, 15_000,
    25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
)  # fmt: skip
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics(Collector):
    """All metrics of a server."""

    def __init__(self) -> None:
        """Makes a registry of its own, so that servers share nothing."""
        # One more series for each, with the time of its first value.
        prometheus_client.disable_created_metrics()
        self._registry = CollectorRegistry()
        self._requests: Counts = Counts()
        self._models: Any = ()
        self._latency = Histogram(
            ":tensorflow:serving:request_latency",
            "Time that requests took within the server, microseconds.",
            ("model_name", "API", "entrypoint"),
            buckets=_LATENCY_US,
            registry=self._registry,
        )
        self._batch_rows = Histogram(
            "shortlist_batch_rows",
            "Queries that were answered together.",
            ("model_name",),
            buckets=_ROWS,
            registry=self._registry,
        )
        self._batch_seconds = Histogram(
            "shortlist_batch_seconds",
            "Time that answering a batch took.",
            ("model_name",),
            buckets=[us / 1e6 for us in _LATENCY_US],
            registry=self._registry,
        )
        self._loads = Counter(
            "shortlist_version_loads",
            "Versions that were loaded, or could not be.",
            ("model_name", "result"),
            registry=self._registry,
        )
        self.refused = Counter(
            "shortlist_refused_requests",
            "Requests by REST that were refused unread: too many were under way.",
            registry=self._registry,
        )
        """What counts them."""
        self._registry.register(self)
        self.request = functools.cache(self._request)
        """Returns what to tell of the requests of a model, an API and an entrypoint."""

    def _request(
        self, model_name: str, api: str, entrypoint: str
    ) -> Callable[[float, Code], None]:
        observe = self._latency.labels(model_name, api, entrypoint).observe

        def tell(seconds: float, code: Code) -> None:
            observe(seconds * 1e6)
            self._requests[model_name, code.name] += 1

        return tell

    def loaded(self, model_name: str, result: str) -> None:
        """Counts a version that was loaded ("ok") or could not be ("failed")."""
        self._loads.labels(model_name, result).inc()

    def batch_observer(self, model_name: str) -> Callable[[int, float], None]:
        """Returns what to tell of the batches of a model: rows and seconds."""
        rows = self._batch_rows.labels(model_name).observe
        seconds = self._batch_seconds.labels(model_name).observe

        def observe(count: int, taken: float) -> None:
            rows(count)
            seconds(taken)

        return observe

    def watch(self, models: Any) -> None:
        """Lets the models be asked for their states when metrics are read."""
        self._models = models

    def as_text(self) -> bytes:
        """Returns all metrics in Prometheus' text format."""
        text = prometheus_client.generate_latest(self._registry)
        # The library takes all counters for its own, which end in "_total".
        name = _REQUESTS.encode()
        return text.replace(name + b"_total ", name + b" ")

    def collect(self) -> Iterator[Metric]:
        """Yields what is not counted but asked for, see prometheus_client."""
        # The library's own counter would add "_total" to TensorFlow Serving's name.
        counts = Metric(_REQUESTS, "Requests, by their status.", "counter")
        for (model, status), count in self._requests.items():
            labels = {"model_name": model, "status": status}
            counts.add_sample(counts.name, labels, count)
        yield counts
        state = GaugeMetricFamily(
            "shortlist_version_state",
            "State of versions: 10 start, 20 loading, 30 available, 40 unloading, "
            "50 end.",
            labels=("model_name", "version"),
        )
        waiting = GaugeMetricFamily(
            "shortlist_waiting_requests",
            "Requests that wait to be answered.",
            labels=("model_name", "version"),
        )
        cache = GaugeMetricFamily(
            "shortlist_query_cache",
            "Queries that the cache of embeddings was asked for, by result.",
            labels=("model_name", "version", "result"),
        )
        for model in self._models:
            for one in model.tracked.values():
                names = [model.settings.name, str(one.number)]
                state.add_metric(names, one.state.value)
                if one.version:
                    waiting.add_metric(names, one.version.waiting)
                if one.version and one.version.native:
                    kept = one.version.native.cache
                    cache.add_metric([*names, "hit"], kept.hits)
                    cache.add_metric([*names, "miss"], kept.misses)
        yield from (state, waiting, cache)
