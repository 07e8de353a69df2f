# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""`shortlist serve` under load: how much it answers, how fast, and what breaks it.

The load generator, the server and what it is compared with are processes of their own
on this machine, and share its cores. Measure on a quiet machine.
"""

import argparse
import contextlib
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import serving.process
from benchmarks import record, workloads
from benchmarks.peers.__main__ import peers_python
from benchmarks.serving import report, servers
from benchmarks.serving.load import Plan
from benchmarks.serving.models import K
from benchmarks.serving.stores import STORES
from serving import checksums
from serving.errors import UserError
from serving.registry.base import CHAMPION, GATES, PASSED, Registry, open_registry
from serving.registry.config import RegistryConfig
from tests import mlflow_server

PARTS = ("load", "overhead", "stores", "swap", "follow", "overload", "soak")
PROTOCOL = (
    "server, load generator and comparisons in processes of their own on the same "
    "cores, over loopback; random known query ids, k = 10, raw id to ids, titles and "
    "scores; peak: closed loop over 32 connections; open loop: a Poisson process, "
    "times counted from when a request was due; medians of three runs where not said; "
    "baseline: benchmarks/serving/baseline.py, FastAPI on uvicorn, one call of the "
    "SavedModel's signature for each request, titles included"
)
MODEL = "model"
_CONNECTIONS = 32
_OPEN_CONNECTIONS = 256
_OVERLOAD_CONNECTIONS = 1500
_PATIENCE_S = 0.1
"""How long a request waits for a free connection under overload, which else would be
counted as the server's time."""
_SECONDS = 8.0
_RUNS = 3
_SWAPS = 20
_CORRUPT, _HALF = 7, 13
"""Which of them is corrupt, which is copied half at first."""
_SETTLE_S = 2.0
_FOLLOWED = 10
"""Promotions and ways back, one after the other."""
_SOAK_S = 1800.0
_SAMPLE_S = 15.0

_ask = serving.process.ask_module


class Bench:
    """Measures one model."""

    def __init__(self, version: str, options: argparse.Namespace):
        """Looks at a version with a native engine."""
        self._version, self._options = version, options
        self.about = _ask(
            "benchmarks.serving.models",
            {"step": "look_at", "version": version},
            f"looking at {version}",
        )
        ids = self.about.pop("ids")
        feature = self.about["query_id"]
        self._rows = [json.dumps({"inputs": {feature: [one], "k": K}}) for one in ids]
        self._asked = [json.dumps({"query": {feature: one}, "k": K}) for one in ids]
        self._query = urllib.parse.urlencode({feature: ids[0]})
        self._flat = [json.dumps({"user_id": one, "k": K}) for one in ids]
        self._messages = [message_of(feature, one) for one in ids]

    def _plan(self, kind: str, server: servers.Server, **more: Any) -> Plan:
        """Returns what a load of a kind sends."""
        rest, by_grpc = ("rest", server.rest_port), ("grpc", server.grpc_port)
        by_stub = ("stub", server.grpc_port)
        (protocol, port), path, bodies = {
            "predict": (rest, f"/v1/models/{MODEL}:predict", self._rows),
            "recommend": (rest, f"/v1/models/{MODEL}:recommend", self._asked),
            "gRPC Predict": (by_grpc, _PREDICT, self._messages),
            "gRPC Predict, blocking stub": (by_stub, _PREDICT, self._messages),
            "baseline": (rest, "/recommend", self._flat),
        }[kind]
        settings = {"seconds": self._options.seconds, "connections": _CONNECTIONS}
        return Plan(protocol, port, path, bodies, **{**settings, **more})

    def _start(
        self, server: servers.Server, rate: float, seconds: float
    ) -> servers.Load:
        """Starts a load at a rate, to go on while something is done to the server."""
        plan = self._plan(
            "predict", server, rate=rate, seconds=seconds, connections=_OPEN_CONNECTIONS
        )
        return servers.start(plan)

    def load(self) -> dict[str, Any]:
        """Measures peaks, and times at 1,000 a second and at 70% of the peak."""
        with contextlib.ExitStack() as stack:
            native = stack.enter_context(served(self._version))
            model = stack.enter_context(
                served(self._version, "--engine", "saved_model")
            )
            plain = stack.enter_context(servers.baseline(self._version))
            systems = {
                "baseline": (plain, "baseline"),
                "REST predict, native": (native, "predict"),
                "REST recommend, native": (native, "recommend"),
                "REST predict, SavedModel": (model, "predict"),
                "gRPC Predict, native": (native, "gRPC Predict"),
            }
            peaks: dict[str, list[float]] = {name: [] for name in systems}
            for _ in range(_RUNS):
                for name, (server, kind) in systems.items():
                    peaks[name].append(self._peak(kind, server))
            found = {}
            for name, (server, kind) in systems.items():
                peak = statistics.median(peaks[name])
                found[name] = {
                    "peaks": peaks[name],
                    "memory_mib": server.memory_mib(),
                    "start_seconds": server.start_seconds,
                    "open": {
                        f"{rate:.0f}": self._open(kind, server, rate)
                        for rate in {1000.0, 0.7 * peak}
                        if rate <= peak
                    },
                }
                _tell(f"{name}: {peak:,.0f} requests/s at most")
            return found

    def _peak(self, kind: str, server: servers.Server) -> float:
        found = servers.send(self._plan(kind, server))
        _refuse_failures(found)
        return found["per_second"]

    def _open(self, kind: str, server: servers.Server, rate: float) -> dict[str, Any]:
        """Measures at a rate, several times; returns the run of the median p99."""
        runs = [
            servers.send(
                self._plan(kind, server, rate=rate, connections=_OPEN_CONNECTIONS)
            )
            for _ in range(_RUNS)
        ]
        runs.sort(key=lambda one: one["ms"]["p99"])
        return {**_short(runs[len(runs) // 2]), "rate": rate}

    def overhead(self) -> dict[str, Any]:
        """Measures single requests, one after the other, beside the engine's times."""
        found: dict[str, Any] = {"engine": self.about["engine_ms"]}
        with served(self._version) as native:
            for kind in (
                "predict", "recommend", "gRPC Predict", "gRPC Predict, blocking stub",
            ):  # fmt: skip
                runs = [
                    servers.send(self._plan(kind, native, connections=1))["ms"]
                    for _ in range(_RUNS)
                ]
                found[kind] = {
                    name: statistics.median(one[name] for one in runs)
                    for name in ("p50", "p99")
                }
        return found

    def stores(self) -> dict[str, Any]:
        """Measures vector stores by their own clients, embeddings being there."""
        found = {}
        for name in STORES:
            with tempfile.TemporaryDirectory(prefix="shortlist-") as folder:
                request = {"step": "arrays", "version": self._version, "folder": folder}
                _ask("benchmarks.serving.models", request, "writing vectors")
                arrays = {
                    one: os.path.join(folder, f"{one}.npy")
                    for one in ("vectors", "queries", "truth")
                }
                request = {"store": name, "folder": folder, "target": 0.99, **arrays}
                python = str(peers_python())
                found[name] = _ask("benchmarks.serving.stores", request, name, python)
                _tell(f"{name}: {found[name]}")
        return found

    def swap(self) -> dict[str, Any]:
        """Swaps versions under load, one of them corrupt, one copied half at first."""
        with tempfile.TemporaryDirectory(prefix="shortlist-") as base:
            _publish(self._version, base, 1)
            with servers.shortlist(base, MODEL, "--load-retry-s", "1") as server:
                rate = self._options.rate or 0.5 * self._peak("predict", server)
                before = server.memory_mib()
                load = self._start(server, rate, self._options.swap_seconds)
                told = [
                    _swap(self._version, base, server, number)
                    for number in range(2, _SWAPS + 2)
                ]
                assert load.is_running, "raise --swap-seconds: the load ended too soon"
                found = load.wait()
                after = server.memory_mib()
        return {
            **_short(found), "rate": rate, "swaps": told,
            "memory_mib": {"before": before, "after": after},
        }  # fmt: skip

    def follow(self) -> dict[str, Any]:
        """Promotes and rolls back in a registry that the server follows, under load."""
        with contextlib.ExitStack() as stack:
            scratch = partial(tempfile.TemporaryDirectory, prefix="shortlist-")
            base, database = (stack.enter_context(scratch()) for _ in range(2))
            address = stack.enter_context(mlflow_server.served(Path(database)))
            registry = open_registry(RegistryConfig(mlflow=address))
            first, second = self._register_two(registry, os.path.join(base, "other"))
            registry.promote(MODEL, first)
            cache = os.path.join(base, "cache")
            server = stack.enter_context(
                servers.follower(f"models:/{MODEL}@{CHAMPION}", address, cache)
            )
            rate = self._options.rate or 0.5 * self._peak("predict", server)
            load = self._start(server, rate, self._options.follow_seconds)
            told = []
            for number in range(_FOLLOWED):
                began = time.perf_counter()
                if number % 2:
                    registry.roll_back(MODEL)
                else:
                    registry.promote(MODEL, second)
                self._until_answering(server, (second, first)[number % 2])
                told.append(time.perf_counter() - began)
            assert load.is_running, "raise --follow-seconds: the load ended too soon"
            found = load.wait()
        return {**_short(found), "rate": rate, "seconds": told}

    def _register_two(self, registry: Registry, other: str) -> list[str]:
        """Registers the version, and a copy of it that differs in a file."""
        shutil.copytree(self._version, other)
        Path(other, "assets.extra", "other").touch()
        checksums.write(other)
        return [
            registry.register(MODEL, path, {GATES: PASSED}, {}).version
            for path in (self._version, other)
        ]

    def _until_answering(self, server: servers.Server, version: str) -> None:
        began = time.perf_counter()
        path = f"/v1/models/{MODEL}:recommend?{self._query}&k=1"
        while str(json.loads(server.get(path)[1])["version"]) != version:
            if time.perf_counter() - began > 120:
                raise SystemExit(f"version {version} is {server.status(MODEL)}")
            time.sleep(0.1)

    def overload(self) -> dict[str, Any]:
        """Sends three times the peak, and then half of it."""
        with served(self._version) as server:
            peak = self._peak("predict", server)
            over = servers.send(
                self._plan(
                    "predict", server, rate=3 * peak, connections=_OVERLOAD_CONNECTIONS,
                    seconds=10.0, drop_after=_PATIENCE_S,
                )
            )  # fmt: skip
            after = servers.send(
                self._plan(
                    "predict", server, rate=0.5 * peak, seconds=6.0, warm_seconds=0.0,
                    connections=_OPEN_CONNECTIONS,
                )
            )  # fmt: skip
        return {"peak": peak, "over": over, "after": after}

    def soak(self) -> dict[str, Any]:
        """Sends 70% of the peak for half an hour and watches the memory."""
        with served(self._version) as server:
            rate = 0.7 * self._peak("predict", server)
            load = self._start(server, rate, self._options.soak_seconds)
            began, memory = time.perf_counter(), []
            while load.is_running:
                memory.append((time.perf_counter() - began, server.memory_mib()))
                time.sleep(_SAMPLE_S)
            found = load.wait()
        seconds = found.pop("by_second")
        return {
            **found, "rate": rate, "memory_mib": memory,
            "worst_second_p99_ms": max(p99 for *_, p99 in seconds),
        }  # fmt: skip


@contextlib.contextmanager
def served(version: str, *options: str) -> Iterator[servers.Server]:
    """Serves a version, in a base path of its own."""
    with tempfile.TemporaryDirectory(prefix="shortlist-") as base:
        os.symlink(os.path.abspath(version), os.path.join(base, "1"))
        with servers.shortlist(base, MODEL, *options) as server:
            yield server


_PREDICT = "/tensorflow.serving.PredictionService/Predict"


def message_of(feature: str, query_id: str) -> str:
    """Returns a PredictRequest as hexadecimal text."""
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = MODEL
    request.inputs[feature].CopyFrom(tf.make_tensor_proto([query_id]))
    request.inputs["k"].CopyFrom(tf.make_tensor_proto(K, tf.int32))
    return request.SerializeToString().hex()


def _publish(version: str, base: str, number: int) -> None:
    """Copies a version beside the others and renames it, as Pusher does."""
    copying = os.path.join(base, f".pushing-{number}")
    shutil.copytree(version, copying)
    os.rename(copying, os.path.join(base, str(number)))


def _swap(
    version: str, base: str, server: servers.Server, number: int
) -> dict[str, Any]:
    """Publishes the next version, or what goes wrong with one; waits for its state."""
    began = time.perf_counter()
    path = os.path.join(base, str(number))
    if number == _CORRUPT:
        shutil.copytree(version, f"{path}.made")
        _corrupt(f"{path}.made")
        os.rename(f"{path}.made", path)
        wanted = "checksum"
    elif number == _HALF:
        shutil.copytree(version, path, ignore=_ignore_half)
        time.sleep(_SETTLE_S)
        taken = server.status(MODEL).get(str(number))
        assert taken is None, f"a version that is half there was taken: {taken}"
        shutil.copytree(version, path, dirs_exist_ok=True)
        wanted = "AVAILABLE"
    else:
        _publish(version, base, number)
        wanted = "AVAILABLE"
    while wanted not in server.status(MODEL).get(str(number), ""):
        if time.perf_counter() - began > 120:
            raise SystemExit(f"version {number} is {server.status(MODEL)}")
        time.sleep(0.1)
    if number == _CORRUPT:
        shutil.rmtree(path)
    old = os.path.join(base, str(number - 2))
    shutil.rmtree(old, ignore_errors=True)  # the corrupt one is gone already
    return {"version": number, "state": wanted, "seconds": time.perf_counter() - began}


def _ignore_half(folder: str, names: list[str]) -> list[str]:
    """Returns the larger half of a folder's files."""
    files = [name for name in names if os.path.isfile(os.path.join(folder, name))]
    files.sort(key=lambda name: os.path.getsize(os.path.join(folder, name)))
    return files[len(files) // 2 :]


def _corrupt(path: str) -> None:
    """Changes a byte in the largest file of the native engine."""
    files = [
        one for one in Path(path, "assets.extra", "native").rglob("*") if one.is_file()
    ]
    largest = max(files, key=lambda one: one.stat().st_size)
    with largest.open("r+b") as file:
        file.seek(largest.stat().st_size // 2)
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 0xFF]))


def _refuse_failures(found: dict[str, Any]) -> None:
    if set(found["statuses"]) != {"200"}:
        raise SystemExit(f"not all requests were answered: {found['statuses']}")


def _short(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name != "by_second"}


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving",
        description=(__doc__ or "").splitlines()[0],
    )
    workloads.add_arguments(parser)
    parser.add_argument(
        "--small", metavar="DIR", required="--show" not in sys.argv,
        help="folder of a pushed version of MovieLens 100K with a native engine",
    )  # fmt: skip
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=PARTS, help="(default: all)"
    )
    parser.add_argument(
        "--sizes", nargs="+", choices=("small", "large"), default=("small", "large"),
        help="MovieLens 100K, and 1.68 million candidates (default: both)",
    )  # fmt: skip
    for name, default, text in (
        ("seconds", _SECONDS, "of each load"),
        ("soak-seconds", _SOAK_S, "of the long one"),
        ("swap-seconds", 300.0, "of the load while versions are swapped"),
        ("follow-seconds", 120.0, "of the load while a registry's champion changes"),
        ("rate", 0.0, "of the load while versions are swapped; 0: half of the peak"),
    ):
        parser.add_argument(
            f"--{name}", type=float, default=default, metavar="N",
            help=f"{text} (default: %(default)s)",
        )  # fmt: skip
    record.add_arguments(parser, "serving")
    return parser.parse_args()


@contextlib.contextmanager
def _versions(options: argparse.Namespace) -> Iterator[dict[str, str]]:
    """Gives the folders of the versions to measure, with checksums."""
    with tempfile.TemporaryDirectory(prefix="shortlist-") as folder:
        found = {}
        if "small" in options.sizes:
            found["small"] = shutil.copytree(
                options.small, os.path.join(folder, "small")
            )
        if "large" in options.sizes:
            workload = os.path.join(folder, "workload")
            os.makedirs(workload)
            workloads.make("well-trained", options, workload)
            found["large"] = os.path.join(folder, "large")
            request = {
                "step": "build", "workload": workload, "version": found["large"]
            }  # fmt: skip
            _ask("benchmarks.serving.models", request, "building the large version")
        for path in found.values():
            checksums.write(path)
        yield found


def main() -> None:
    """Measures, unless it is only to show, and prints the tables."""
    options = _options()
    if not options.show:
        content = {**record.about("serving"), "protocol": PROTOCOL, "results": {}}
        if options.out.exists():
            # Parts may be measured one by one.
            content["results"] = record.read(options.out)["results"]
        with _versions(options) as versions:
            for size, version in versions.items():
                bench = Bench(version, options)
                found = content["results"].setdefault(size, {})
                found["about"] = bench.about
                for part in options.parts:
                    measure: Callable[[], dict[str, Any]] = getattr(bench, part)
                    found[part] = measure()
                    record.write(options.out, content)
    for size, found in record.read(options.out)["results"].items():
        print(report.as_text(size, found) + "\n")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"benchmarks.serving: {error}")
