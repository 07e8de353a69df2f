# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The libraries that are compared, behind one small interface, with their knobs.

Each library is imported where it is used: a peer's process has NumPy and that library,
ours has the project's own environment.
"""

import abc
import os
from typing import Any, NamedTuple

import numpy as np

from benchmarks.peers.frontier import Config

K = 10
"""Results of a query."""

_INDEX = "index"
_ORDER = "order.npy"
"""Name of a saved index in its folder."""
_RESCORED = (20, 40, 80, 160, 320, 640)
_ROOTS = (0.5, 1, 2, 4, 8, 16)
"""Partitions, in square roots of the number of candidates."""


class Knobs(NamedTuple):
    """How an index may be built."""

    values: dict[str, tuple[Any, ...]]
    """By knob, what counts most first; numbers ascend."""
    default: Config
    """As the library's own documentation advises for such a size."""
    first: tuple[Config, ...] = ()
    """What is built right after it: other values of some knobs."""


class System(abc.ABC):
    """One kind of index of one library.

    An index asks for the highest inner products of vectors of different lengths. For
    space "l2" or "cos" a dimension is added that brings all vectors to one length, so
    that the nearest are those of the highest inner products; queries have a 0 there
    (Bachrach et al. 2014).
    """

    name: str
    package: str
    """The distribution whose version is told."""
    modules: tuple[str, ...]
    """What is imported for it."""
    least = 1
    """Of the search effort."""
    rescored_hits: tuple[int, ...] = (0,)
    """Hits that are rescored exactly; 0: none."""

    def __init__(self, config: Config, dimensions: int):
        """Takes a value for each knob, and how wide the vectors are."""
        self.config, self.dimensions = config, dimensions
        self._is_widened = not config.get("space", "ip").startswith("ip")
        # Codes of 1, 2 or 4 dimensions each want a multiple of 4.
        self._width = -(-(dimensions + 1) // 4) * 4 if self._is_widened else dimensions

    @classmethod
    @abc.abstractmethod
    def knobs(cls, candidates: int) -> Knobs:
        """Returns how an index of so many candidates may be built."""

    @abc.abstractmethod
    def build(self, vectors: np.ndarray) -> None:
        """Builds the index of float32 [candidates, dimensions], by all cores."""

    @abc.abstractmethod
    def save(self, folder: str) -> None:
        """Writes the index into a folder that is there."""

    @abc.abstractmethod
    def load(self, folder: str) -> None:
        """Reads what `save` has written, to be searched by one thread."""

    def most(self, candidates: int) -> int:
        """Returns the highest search effort worth trying."""
        return candidates

    @abc.abstractmethod
    def set_effort(self, search: int, rescored: int) -> None:
        """Says how hard to search from now on."""

    def asked(self, queries: np.ndarray) -> list[np.ndarray]:
        """Returns float32 [queries, dimensions] one by one, as `one` takes them."""
        return list(self._in_space(queries))

    @abc.abstractmethod
    def one(self, query: np.ndarray) -> Any:
        """Answers one query, by the call that a user of the library makes."""

    @abc.abstractmethod
    def rows(self, answer: Any) -> np.ndarray:
        """Returns the rows of an answer of `one`, [at most K]."""

    def detail(self) -> str:
        """Returns what else tells this library's build from others, "" for nothing."""
        return ""

    def _in_space(self, vectors: np.ndarray, longest: float = 0) -> np.ndarray:
        """Returns vectors of the space; `longest` 0: they are queries."""
        if not self._is_widened:
            return np.ascontiguousarray(vectors)
        wide = np.zeros((len(vectors), self._width), np.float32)
        wide[:, : self.dimensions] = vectors
        if longest:
            squares = np.einsum("ij,ij->i", vectors, vectors)
            wide[:, self.dimensions] = np.sqrt(np.maximum(longest**2 - squares, 0))
        return wide

    def _candidates(self, vectors: np.ndarray) -> np.ndarray:
        return self._in_space(vectors, float(np.linalg.norm(vectors, axis=1).max()))


class Scann(System):
    """Ours: ScaNN's files and the native engine's search, as a pipeline pushes them."""

    name = "ours"
    package = "scann"
    modules = ("serving.native", "scann.scann_ops.py.scann_ops_pybind")
    rescored_hits = _RESCORED
    # A single leaf may hold fewer than K, and the engine then searches exactly.
    least = 2

    @classmethod
    def knobs(cls, candidates: int) -> Knobs:
        """See `System.knobs`; first what index.kind=auto gives."""
        from serving.index_config import IndexConfig, plan_index

        # The dimensions only bound dimensions_per_block.
        plan = plan_index(IndexConfig(), candidates, 4)
        leaves = tuple(round(one * candidates**0.5) for one in _ROOTS[:-1])
        values = {
            "leaves": tuple(sorted({*leaves, plan.leaves or leaves[1]})),
            "dimensions_per_block": (1, 2, 4),
            "anisotropic_threshold": (0.0, 0.1, 0.2, 0.3),
            "reorder_type": ("float32", "bfloat16", "int8"),
            "soar_lambda": (0.0, 1.5),
            "avq_eta": (1.0, 2.5, 4.0),
            "quantize_centroids": (False, True),
            "training_sample": (100_000, 250_000, 1_000_000),
            "spherical": (False, True),
        }
        default = {name: getattr(IndexConfig(), name) for name in values}
        default["leaves"] = plan.leaves or leaves[1]
        return Knobs(values, default, ({"reorder_type": "int8"},))

    def build(self, vectors: np.ndarray) -> None:
        """See `System.build`; only what `save` then moves."""
        import tempfile

        from serving import scann_files
        from serving.index_config import IndexConfig, plan_index

        config = IndexConfig(kind="scann", **self.config)
        self._plan = plan_index(config, *vectors.shape)
        self._made = tempfile.TemporaryDirectory(prefix="shortlist-")
        folder = os.path.join(self._made.name, _INDEX)
        self._order = scann_files.build(vectors, self._plan, folder)
        self._vectors = vectors[self._order]
        self._engine = _engine(self._plan, folder, self._vectors)

    def save(self, folder: str) -> None:
        """See `System.save`."""
        import shutil

        from serving import scann_files

        files = os.path.join(folder, _INDEX)
        shutil.copytree(os.path.join(self._made.name, _INDEX), files)
        # ScaNN keeps the vectors itself where it rescores by floats.
        if not os.path.exists(os.path.join(files, scann_files.VECTORS)):
            np.save(os.path.join(files, scann_files.VECTORS), self._vectors)
        np.save(os.path.join(folder, _ORDER), self._order)
        with open(os.path.join(folder, "plan.json"), "w", encoding="utf-8") as file:
            file.write(self._plan.model_dump_json())

    def load(self, folder: str) -> None:
        """See `System.load`."""
        from serving import scann_files
        from serving.index_config import IndexPlan

        with open(os.path.join(folder, "plan.json"), encoding="utf-8") as file:
            self._plan = IndexPlan.model_validate_json(file.read())
        files = os.path.join(folder, _INDEX)
        vectors = np.load(os.path.join(files, scann_files.VECTORS), mmap_mode="r")
        self._order = np.load(os.path.join(folder, _ORDER))
        self._engine = _engine(self._plan, files, vectors)

    def most(self, candidates: int) -> int:
        """See `System.most`."""
        return self._plan.leaves

    def set_effort(self, search: int, rescored: int) -> None:
        """See `System.set_effort`."""
        self._effort = search, rescored

    def one(self, query: np.ndarray) -> Any:
        """See `System.one`."""
        return self._engine.nearest(query, K, frozenset(), *self._effort)

    def rows(self, answer: Any) -> np.ndarray:
        """See `System.rows`."""
        return self._order[answer[0]]


def _engine(plan: Any, folder: str, vectors: np.ndarray) -> Any:
    """Returns the native engine over an index without a catalogue and towers."""
    from serving import scann_files
    from serving.native import NativeEngine

    class Engine(NativeEngine):
        """What of a version's engine answers embedded queries."""

        def __init__(self) -> None:
            """Reads the index alone."""
            self.plan, self.embeddings = plan, vectors
            self.searcher = scann_files.load_native(folder)

    return Engine()


class Faiss(System):
    """What faiss's indexes share."""

    package = "faiss-cpu"
    modules = ("faiss",)

    def build(self, vectors: np.ndarray) -> None:
        """See `System.build`."""
        import faiss

        faiss.omp_set_num_threads(len(os.sched_getaffinity(0)))
        made = self._candidates(vectors)
        metric = faiss.METRIC_L2 if self._is_widened else faiss.METRIC_INNER_PRODUCT
        index = faiss.index_factory(self._width, self.description(), metric)
        self.prepare(index)
        index.train(made)
        index.add(made)
        self._set_up(index)

    @abc.abstractmethod
    def description(self) -> str:
        """Returns what `index_factory` is told."""

    @abc.abstractmethod
    def prepare(self, index: Any) -> None:
        """Sets what the description does not say, before training."""

    def _set_up(self, index: Any) -> None:
        """Holds an index to be searched by one thread."""
        import faiss

        faiss.omp_set_num_threads(1)
        self._index = index
        self._ivf = faiss.try_extract_index_ivf(index)

    def save(self, folder: str) -> None:
        """See `System.save`."""
        import faiss

        faiss.write_index(self._index, os.path.join(folder, _INDEX))

    def load(self, folder: str) -> None:
        """See `System.load`."""
        import faiss

        self._set_up(faiss.read_index(os.path.join(folder, _INDEX)))

    def detail(self) -> str:
        """See `System.detail`; the instructions that faiss has chosen."""
        import faiss

        return faiss.SIMDConfig.get_level_name()

    def asked(self, queries: np.ndarray) -> list[np.ndarray]:
        """See `System.asked`; faiss takes batches only."""
        return [query[np.newaxis] for query in super().asked(queries)]

    def one(self, query: np.ndarray) -> Any:
        """See `System.one`."""
        return self._index.search(query, K)

    def rows(self, answer: Any) -> np.ndarray:
        """See `System.rows`."""
        return answer[1][0]


class FaissIvf(Faiss):
    """faiss's partitions: whole vectors, or 8 or 16 bits a dimension."""

    name = "faiss IVF-Flat"

    @classmethod
    def knobs(cls, candidates: int) -> Knobs:
        """See `System.knobs`; faiss advises 4 to 16 roots."""
        lists = tuple(round(one * candidates**0.5) for one in _ROOTS)
        return Knobs(
            {
                "lists": lists,
                "space": ("ip", "ip, plain k-means", "l2"),
                "codes": ("Flat", "SQfp16", "SQ8"),
                "coarse": ("flat", "HNSW32"),
                "sample": (64, 256),
            },
            {"lists": lists[3], "space": "ip", "codes": "Flat", "coarse": "flat",
             "sample": 256},
            (
                {"space": "l2", "sample": 64},
                {"space": "ip, plain k-means", "sample": 64},
                {"lists": lists[1], "space": "l2", "sample": 64},
            ),
        )  # fmt: skip

    def description(self) -> str:
        """See `Faiss.description`."""
        return f"{self._partitions()},{self.config['codes']}"

    def _partitions(self) -> str:
        is_graph = self.config["coarse"] == "HNSW32"
        return f"IVF{self.config['lists']}{'_HNSW32' if is_graph else ''}"

    def prepare(self, index: Any) -> None:
        """See `Faiss.prepare`; for products faiss scales centroids to one length."""
        import faiss

        training = faiss.extract_index_ivf(index).cp
        training.spherical = self.config["space"] == "ip"
        training.max_points_per_centroid = self.config["sample"]

    def most(self, candidates: int) -> int:
        """See `System.most`."""
        return self.config["lists"]

    def set_effort(self, search: int, rescored: int) -> None:
        """See `System.set_effort`."""
        self._ivf.nprobe = search
        if rescored:
            self._index.k_factor = rescored / K


class FaissFastScan(FaissIvf):
    """faiss's partitions with 4-bit codes, scanned in registers, and rescoring."""

    name = "faiss IVF-PQ fast scan"
    rescored_hits = _RESCORED

    @classmethod
    def knobs(cls, candidates: int) -> Knobs:
        """See `System.knobs`.

        Without a learned rotation: OPQ took a minute on 35,322 vectors and found less.
        """
        lists = tuple(round(one * candidates**0.5) for one in _ROOTS)
        return Knobs(
            {
                "lists": lists,
                "space": ("ip", "ip, plain k-means", "l2"),
                "residual": (False, True),
                "dimensions_per_code": (1, 2, 4),
                "refine": ("Flat", "SQfp16", "SQ8"),
                "coarse": ("flat", "HNSW32"),
                "sample": (64, 256),
            },
            {"lists": lists[3], "space": "ip", "residual": False,
             "dimensions_per_code": 2, "refine": "Flat", "coarse": "flat",
             "sample": 256},
            (
                {"space": "l2", "sample": 64},
                {"space": "ip, plain k-means", "residual": True, "sample": 64},
                {"lists": lists[1], "space": "l2", "sample": 64},
                {"lists": lists[1], "space": "ip, plain k-means", "residual": True,
                 "sample": 64},
            ),
        )  # fmt: skip

    def description(self) -> str:
        """See `Faiss.description`."""
        config = self.config
        codes = self._width // config["dimensions_per_code"]
        return (
            f"{self._partitions()},PQ{codes}x4fs{'r' if config['residual'] else ''},"
            f"Refine({config['refine']})"
        )


class FaissHnsw(Faiss):
    """faiss's graph."""

    name = "faiss HNSW"
    least = K

    @classmethod
    def knobs(cls, candidates: int) -> Knobs:
        """See `System.knobs`."""
        return Knobs(
            {
                "M": (8, 12, 16, 24, 32, 48),
                "space": ("ip", "l2"),
                "ef_construction": (40, 80, 160, 320),
                "codes": ("Flat", "SQfp16", "SQ8"),
            },
            {"M": 32, "space": "ip", "ef_construction": 40, "codes": "Flat"},
            ({"space": "l2"},),
        )

    def description(self) -> str:
        """See `Faiss.description`."""
        return f"HNSW{self.config['M']},{self.config['codes']}"

    def prepare(self, index: Any) -> None:
        """See `Faiss.prepare`."""
        index.hnsw.efConstruction = self.config["ef_construction"]

    def set_effort(self, search: int, rescored: int) -> None:
        """See `System.set_effort`."""
        self._index.hnsw.efSearch = search


class Hnswlib(System):
    """The reference implementation of HNSW."""

    name = package = "hnswlib"
    modules = ("hnswlib",)
    least = K

    @classmethod
    def knobs(cls, candidates: int) -> Knobs:
        """See `System.knobs`."""
        return Knobs(
            {
                "M": (8, 12, 16, 24, 32, 48),
                "space": ("ip", "l2"),
                "ef_construction": (50, 100, 200, 400),
            },
            {"M": 16, "space": "ip", "ef_construction": 200},
            ({"space": "l2"},),
        )

    def build(self, vectors: np.ndarray) -> None:
        """See `System.build`."""
        import hnswlib

        made = self._candidates(vectors)
        self._index = hnswlib.Index(self.config["space"], self._width)
        self._index.init_index(
            len(made),
            M=self.config["M"],
            ef_construction=self.config["ef_construction"],
        )
        self._index.add_items(made, num_threads=len(os.sched_getaffinity(0)))
        self._index.set_num_threads(1)

    def save(self, folder: str) -> None:
        """See `System.save`."""
        self._index.save_index(os.path.join(folder, _INDEX))

    def load(self, folder: str) -> None:
        """See `System.load`."""
        import hnswlib

        self._index = hnswlib.Index(self.config["space"], self._width)
        self._index.load_index(os.path.join(folder, _INDEX))
        self._index.set_num_threads(1)

    def set_effort(self, search: int, rescored: int) -> None:
        """See `System.set_effort`."""
        self._index.set_ef(search)

    def one(self, query: np.ndarray) -> Any:
        """See `System.one`."""
        return self._index.knn_query(query, K)

    def rows(self, answer: Any) -> np.ndarray:
        """See `System.rows`."""
        return answer[0][0]


class Usearch(System):
    """usearch's HNSW."""

    name = package = "usearch"
    modules = ("usearch.index",)
    least = K

    @classmethod
    def knobs(cls, candidates: int) -> Knobs:
        """See `System.knobs`; "i8" brings vectors to one length, hence "cos"."""
        return Knobs(
            {
                "connectivity": (8, 12, 16, 24, 32),
                "space": ("ip", "cos", "l2"),
                "expansion_add": (64, 128, 256),
                "dtype": ("f32", "bf16", "f16", "i8"),
            },
            {"connectivity": 16, "space": "ip", "expansion_add": 128, "dtype": "bf16"},
            ({"dtype": "f32"}, {"space": "l2"}, {"space": "cos", "dtype": "i8"}),
        )

    def build(self, vectors: np.ndarray) -> None:
        """See `System.build`."""
        from usearch.index import Index

        made = self._candidates(vectors)
        spaces = {"ip": "ip", "cos": "cos", "l2": "l2sq"}
        self._index = Index(
            ndim=self._width,
            metric=spaces[self.config["space"]],
            dtype=self.config["dtype"],
            connectivity=self.config["connectivity"],
            expansion_add=self.config["expansion_add"],
        )
        cores = len(os.sched_getaffinity(0))
        self._index.add(np.arange(len(made)), made, threads=cores)

    def save(self, folder: str) -> None:
        """See `System.save`."""
        self._index.save(os.path.join(folder, _INDEX))

    def load(self, folder: str) -> None:
        """See `System.load`."""
        from usearch.index import Index

        self._index = Index.restore(os.path.join(folder, _INDEX))

    def set_effort(self, search: int, rescored: int) -> None:
        """See `System.set_effort`."""
        self._index.expansion_search = search

    def one(self, query: np.ndarray) -> Any:
        """See `System.one`."""
        return self._index.search(query, K, threads=1)

    def rows(self, answer: Any) -> np.ndarray:
        """See `System.rows`."""
        return answer.keys

    def detail(self) -> str:
        """See `System.detail`; the instructions that usearch has chosen."""
        return self._index.hardware_acceleration


class Voyager(System):
    """Spotify's HNSW, of hnswlib; it brings products to one length by itself."""

    name = package = "voyager"
    modules = ("voyager",)
    least = K

    @classmethod
    def knobs(cls, candidates: int) -> Knobs:
        """See `System.knobs`."""
        return Knobs(
            {
                "M": (8, 12, 16, 24, 32),
                "space": ("ip", "l2"),
                "ef_construction": (50, 100, 200, 400),
                "storage": ("Float32", "Float8", "E4M3"),
            },
            {"M": 12, "space": "ip", "ef_construction": 200, "storage": "Float32"},
            ({"space": "l2"}, {"storage": "E4M3"}),
        )

    def build(self, vectors: np.ndarray) -> None:
        """See `System.build`."""
        import voyager

        made = _within_one(self._candidates(vectors))
        spaces = {"ip": voyager.Space.InnerProduct, "l2": voyager.Space.Euclidean}
        self._index = voyager.Index(
            spaces[self.config["space"]],
            self._width,
            M=self.config["M"],
            ef_construction=self.config["ef_construction"],
            max_elements=len(made),
            storage_data_type=getattr(voyager.StorageDataType, self.config["storage"]),
        )
        self._index.add_items(made, num_threads=len(os.sched_getaffinity(0)))

    def save(self, folder: str) -> None:
        """See `System.save`."""
        self._index.save(os.path.join(folder, _INDEX))

    def load(self, folder: str) -> None:
        """See `System.load`."""
        import voyager

        self._index = voyager.Index.load(os.path.join(folder, _INDEX))

    def asked(self, queries: np.ndarray) -> list[np.ndarray]:
        """See `System.asked`."""
        return list(_within_one(self._in_space(queries)))

    def set_effort(self, search: int, rescored: int) -> None:
        """See `System.set_effort`."""
        self._effort = search

    def one(self, query: np.ndarray) -> Any:
        """See `System.one`."""
        return self._index.query(query, K, query_ef=self._effort)

    def rows(self, answer: Any) -> np.ndarray:
        """See `System.rows`."""
        return answer[0]


def _within_one(vectors: np.ndarray) -> np.ndarray:
    """Scales vectors to numbers from -1 to 1, as Float8 wants; no order changes."""
    return vectors / np.abs(vectors).max()


SYSTEMS: dict[str, type[System]] = {
    one.name: one
    for one in (
        Scann, FaissIvf, FaissFastScan, FaissHnsw, Hnswlib, Usearch, Voyager,
    )
}  # fmt: skip
OURS = Scann.name
