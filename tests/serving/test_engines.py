# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Both engines in this process: any mix of calls, each answered as if it were alone."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.model import Recommender
from serving.native import NativeEngine
from serving.server.batcher import answer_each
from serving.server.calls import Call, Limits, make_call
from serving.server.engines import (
    NATIVE_SIGNATURES,
    Engine,
    NativeAnswers,
    QueryCache,
    SavedModelAnswers,
    query_features,
)
from serving.server.failure import Code, Failure
from serving.server.tensors import (
    Signatures,
    Tensor,
    Tensors,
    as_text,
    read_signatures,
    to_array,
)
from serving.shards import open_engine, open_model
from tests.serving.versions import RICH_USERS
from tests.unit.conftest import CANDIDATES, DEFAULT_K, attributes_of

LIMITS = Limits()
SEARCHES = ("serving_default", "exact", "nearest", "serving_examples")
USERS = ["1", "2", "17", "40", "nobody", "", "é"]
SOME_IDS = ["007", "7", "m3", "m77", "東京", "unknown", "", "tab\tid", "m3"]
SIMILAR = {"rtol": 1e-5, "atol": 1e-6}
MANY = settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@dataclasses.dataclass(repr=False)
class Version:
    """A version with what may answer for it, and what is right."""

    signatures: Signatures
    native: NativeAnswers | None
    saved: SavedModelAnswers
    right: Recommender
    features: dict[str, tf.TensorSpec]

    @property
    def engines(self) -> list[Engine]:
        return [one for one in (self.native, self.saved) if one is not None]

    def call(self, signature: str, given: Tensors, filter: str = "") -> Call:
        return make_call(self.signatures.find(signature), given, LIMITS, filter)

    def expected(self, call: Call) -> dict[str, np.ndarray]:
        """What the SavedModel answers to a call alone, all inputs spelled out."""
        run = self.right.signature(call.signature.name)
        outputs = run(
            **{
                name: tf.constant(to_array(call.inputs[name], spec.dtype), spec.dtype)
                for name, spec in run.inputs.items()
            }
        )
        return {name: values.numpy() for name, values in outputs.items()}


def open_version(path: str, part: str | None = None) -> Version:
    signatures = read_signatures(part or path)
    features = query_features(signatures.find("embed_query"))
    engine = open_engine(path)
    model = open_model(path)
    return Version(
        signatures,
        NativeAnswers(engine, features, 100) if engine else None,
        SavedModelAnswers(model),
        model,
        features,
    )


@pytest.fixture(scope="module")
def versions(build, sharded_version, rich_version) -> dict[str, Version]:
    part = f"{sharded_version}/shards/00000-of-00003"
    return {
        **{
            kind: open_version(build(kind).path)
            for kind in ("scann", "exact", "tfrs-brute-force")
        },
        "sharded": open_version(sharded_version, part),
        "rich": open_version(rich_version),
    }


def same(answer: Any, expected: dict[str, np.ndarray]) -> None:
    assert not isinstance(answer, Failure), answer.message
    assert answer.keys() == expected.keys()
    for name, values in expected.items():
        found = answer[name]
        assert found.shape == values.shape
        if values.dtype == object:
            texts = [as_text(one) for one in values.reshape(-1)]
            assert [as_text(one) for one in found.values] == texts
        else:
            np.testing.assert_allclose(found.values, values.reshape(-1), **SIMILAR)


def example(**features: Any) -> bytes:
    """A serialized tf.Example of texts and numbers."""
    made = tf.train.Example()
    for name, value in features.items():
        values = value if isinstance(value, list) else [value]
        if isinstance(values[0], float):
            made.features.feature[name].float_list.value.extend(values)
        else:
            texts = [one.encode() for one in values]
            made.features.feature[name].bytes_list.value.extend(texts)
    return made.SerializeToString()


def texts(values: list[Any]) -> Tensor:
    return Tensor(list(values), (len(values),))


def number(value: int) -> Tensor:
    return Tensor(np.array([value], np.int32), ())


@st.composite
def options(draw: st.DrawFn, signature: str, rows: int) -> Tensors:
    """Options as requests have them: some are given, some left out."""
    given: Tensors = {}
    if signature == "serving_examples":
        return given
    if draw(st.booleans()):
        given["k"] = number(
            draw(st.sampled_from([1, 3, DEFAULT_K, 40, CANDIDATES, CANDIDATES + 5]))
        )
    lists = draw(st.sampled_from([0, 0, 1, rows]))
    if lists:
        width = draw(st.integers(0, 5))
        ids = draw(
            st.lists(
                st.sampled_from(SOME_IDS), min_size=lists * width,
                max_size=lists * width,
            )
        )  # fmt: skip
        given["exclude"] = Tensor(ids, (lists, width))
    if signature != "exact" and draw(st.booleans()):
        given["leaves_to_search"] = number(draw(st.sampled_from([0, 1, 12, 99])))
        given["reorder"] = number(draw(st.sampled_from([0, 50, 300])))
    return given


@st.composite
def small_calls(draw: st.DrawFn) -> tuple[str, Tensors]:
    """A call over the small world: one feature, `user_id`."""
    signature = draw(st.sampled_from([*SEARCHES, "embed_query"]))
    users = draw(st.lists(st.sampled_from(USERS), max_size=4))
    rows = len(users)
    if signature == "embed_query":
        return signature, {"user_id": texts(users)}
    if signature == "serving_examples":
        return signature, {"examples": texts([example(user_id=one) for one in users])}
    if signature == "nearest":
        seeds = draw(st.lists(st.integers(0, 9), min_size=rows, max_size=rows))
        vectors = [np.random.default_rng(one).normal(size=9) for one in seeds]
        flat = np.array(vectors, np.float32).reshape(-1)
        inputs = {"embedding": Tensor(flat, (rows, 9))}
    else:
        inputs = {"user_id": texts(users)}
    return signature, {**inputs, **draw(options(signature, rows))}


RICH_QUERIES = st.fixed_dictionaries(
    {
        "user_id": st.sampled_from(["", "nobody", *RICH_USERS[:3]]),
        "city": st.sampled_from(["", "Bern", "u1"]),
        "tags": st.lists(st.sampled_from(["a", "b", "u1"]), max_size=3),
        "age": st.sampled_from([float("nan"), 0.0, 44.5]),
        "taste": st.sampled_from([[0.0, 0.0], [1.5, -2.0]]),
    }
)


def numbers(values: list[Any], shape: tuple[int, ...]) -> Tensor:
    return Tensor(np.array(values, np.float32).reshape(-1), shape)


@st.composite
def rich_calls(draw: st.DrawFn) -> tuple[str, Tensors]:
    """A call over the version with features of each kind."""
    names = ["serving_default", "exact", "serving_examples", "embed_query"]
    signature = draw(st.sampled_from(names))
    queries = draw(st.lists(RICH_QUERIES, max_size=4))
    if signature == "serving_examples":
        kept = [
            {name: value for name, value in query.items() if value != []}
            for query in queries
        ]
        return signature, {"examples": texts([example(**one) for one in kept])}
    rows = len(queries)
    width = max((len(one["tags"]) for one in queries), default=0)
    tags = [(one["tags"] + [""] * width)[:width] for one in queries]
    inputs = {
        "user_id": texts([one["user_id"] for one in queries]),
        "city": texts([one["city"] for one in queries]),
        "tags": Tensor([tag for row in tags for tag in row], (rows, width)),
        "age": numbers([one["age"] for one in queries], (rows,)),
        "taste": numbers([one["taste"] for one in queries], (rows, 2)),
    }
    if signature == "embed_query":
        return signature, inputs
    return signature, {**inputs, **draw(options(signature, rows))}


@pytest.mark.parametrize("kind", ["scann", "exact", "tfrs-brute-force", "sharded"])
@given(drawn=st.lists(small_calls(), min_size=1, max_size=6))
@MANY
def test_any_batch_is_answered_as_its_calls_one_by_one(kind, drawn, versions):
    version = versions[kind]
    calls = [version.call(*one) for one in drawn]
    expected = [version.expected(call) for call in calls]
    for engine in version.engines:
        for answer, right in zip(engine.answer(calls), expected, strict=True):
            same(answer, right)


@given(drawn=st.lists(rich_calls(), min_size=1, max_size=6))
@MANY
def test_features_of_any_kind_are_answered_as_by_the_saved_model(drawn, versions):
    version = versions["rich"]
    calls = [version.call(*one) for one in drawn]
    expected = [version.expected(call) for call in calls]
    for engine in version.engines:
        for answer, right in zip(engine.answer(calls), expected, strict=True):
            same(answer, right)


@given(drawn=st.lists(small_calls(), min_size=2, max_size=5), data=st.data())
@MANY
def test_a_call_does_not_depend_on_its_neighbours(drawn, data, versions):
    version = versions["scann"]
    calls = [version.call(*one) for one in drawn]
    order = data.draw(st.permutations(range(len(calls))))
    for engine in version.engines:
        alone = [engine.answer([call])[0] for call in calls]
        together = engine.answer([calls[at] for at in order])
        for at, answer in zip(order, together, strict=True):
            assert alone[at].keys() == answer.keys()
            for name, tensor in alone[at].items():
                assert tensor.shape == answer[name].shape
                if name in ("score", "embedding"):
                    np.testing.assert_allclose(
                        tensor.values, answer[name].values, **SIMILAR
                    )
                else:
                    assert tensor.values == answer[name].values


FILTERS = [
    ("kind = song", lambda one: one["kind"] == "song"),
    (
        "tags = rare and year >= 1950",
        lambda one: "rare" in one["tags"] and one["year"] >= 1950,
    ),
    ("not kind in (song, film)", lambda one: one["kind"] not in ("song", "film")),
    ("kind = nothing", lambda one: False),
]


@pytest.mark.parametrize(("text", "leaves"), FILTERS, ids=lambda one: str(one)[:20])
@pytest.mark.parametrize("signature", ["serving_default", "exact"])
@pytest.mark.parametrize("kind", ["exact", "sharded"])
def test_filters_leave_what_they_say(text, leaves, signature, kind, versions, world):
    version = versions[kind]
    users = ["3", "nobody"]
    inputs = {"user_id": texts(users), "k": number(25)}
    plain = version.call(signature, inputs)
    call = version.call(signature, inputs, text)
    assert version.native is not None
    before, answer, _ = version.native.answer([plain, call, plain])
    same(before, version.expected(plain))
    assert not isinstance(answer, Failure)
    for at, user in enumerate(users):
        ranked = world.ranking(user if user in world.users else None)
        expected = [one for one in ranked if leaves(attributes_of(one))][:25]
        expected += [""] * (25 - len(expected))
        assert answer["candidate_id"].values[at * 25 : (at + 1) * 25] == expected


def test_a_filter_without_a_native_engine_is_refused_for_its_call_alone(versions):
    version = versions["tfrs-brute-force"]
    plain = version.call("serving_default", {"user_id": texts(["3"])})
    filtered = version.call("serving_default", {"user_id": texts(["3"])}, "kind = song")
    first, refused, last = version.saved.answer([plain, filtered, plain])
    same(first, version.expected(plain))
    same(last, version.expected(plain))
    assert isinstance(refused, Failure) and refused.code is Code.INVALID_ARGUMENT
    assert "a filter needs a native engine" in refused.message


@pytest.mark.parametrize("kind", ["scann", "tfrs-brute-force"])
def test_a_bad_call_fails_alone(kind, versions):
    version = versions[kind]
    good = version.call("serving_default", {"user_id": texts(["3", "4"])})
    whole = version.call(
        "serving_examples", {"examples": texts([example(user_id="3")])}
    )
    broken = version.call("serving_examples", {"examples": texts([b"\xff\xff"])})
    for engine in version.engines:
        answers = answer_each(engine, [good, whole, broken, good, whole])
        for at, call in ((0, good), (1, whole), (3, good), (4, whole)):
            same(answers[at], version.expected(call))
        assert isinstance(answers[2], Failure)
        assert answers[2].code is Code.INVALID_ARGUMENT
        assert answers[2].message.startswith("Could not parse example input, value: ")
        assert "\n" not in answers[2].message


@pytest.mark.parametrize("text", ["kind >", "size = 1", "year = x", "("])
def test_a_bad_filter_fails_alone(text, versions):
    version = versions["scann"]
    good = version.call("serving_default", {"user_id": texts(["3"])})
    bad = version.call("serving_default", {"user_id": texts(["3"])}, text)
    assert version.native is not None
    first, refused, last = answer_each(version.native, [good, bad, good])
    same(first, version.expected(good))
    same(last, version.expected(good))
    assert isinstance(refused, Failure) and refused.code is Code.INVALID_ARGUMENT
    assert refused.message.startswith("filter: ")


@pytest.mark.parametrize("kind", ["scann", "exact", "sharded"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_query_without_a_finite_embedding_is_refused_alone(kind, value, versions):
    version = versions[kind]
    good = version.call("serving_default", {"user_id": texts(["3", "4"])})
    vectors = Tensor(np.array([value] + [0.0] * 8, np.float32), (1, 9))
    bad = [version.call(name, {"embedding": vectors}) for name in ("nearest",) * 2]
    assert version.native is not None
    answers = version.native.answer([good, *bad, good])
    same(answers[0], version.expected(good))
    same(answers[3], version.expected(good))
    for answer in answers[1:3]:
        assert isinstance(answer, Failure) and answer.code is Code.INVALID_ARGUMENT
        assert "its embedding is not finite" in answer.message


def test_texts_may_be_bytes_or_str(versions):
    version = versions["scann"]
    assert version.native is not None
    asked = [["3", "é"], [b"3", "é".encode()]]
    calls = [
        version.call(
            "serving_default",
            {"user_id": texts(users), "exclude": Tensor(ids, (1, 1))},
        )
        for users, ids in zip(asked, (["東京"], ["東京".encode()]), strict=True)
    ]
    for engine in version.engines:
        first, second = engine.answer(calls)
        same(first, version.expected(calls[0]))
        same(second, version.expected(calls[0]))


def test_bytes_that_are_no_text_are_an_unknown_user(versions):
    version = versions["scann"]
    strange = version.call("serving_default", {"user_id": texts([b"\xff\xfe"])})
    nobody = version.call("serving_default", {"user_id": texts(["nobody"])})
    for engine in version.engines:
        same(engine.answer([strange])[0], version.expected(nobody))


def test_what_engines_answer_natively_is_what_the_model_has(versions):
    for version in versions.values():
        assert set(version.signatures.by_name) >= NATIVE_SIGNATURES


def test_a_native_engine_loads_no_tower_for_ids(build):
    engine = NativeEngine(build("scann").path)
    signatures = read_signatures(build("scann").path)
    features = query_features(signatures.find("embed_query"))
    answers = NativeAnswers(engine, features, 10)
    call = make_call(
        signatures.find("serving_default"), {"user_id": texts(["3"])}, LIMITS
    )
    answers.answer([call])
    assert "_tower" not in vars(engine)


@pytest.mark.parametrize(
    ("given", "filter", "is_quick"),
    [
        ({}, "", True),
        ({"k": 100}, "", True),
        ({"k": 101}, "", False),
        ({"leaves_to_search": 3}, "", False),
        ({"exclude": ["001"]}, "", False),
        ({"exclude": []}, "", True),
        ({"user_id": ["1", "2"]}, "", False),
        ({}, "genre = Drama", False),
    ],
    ids=str,
)
def test_only_one_plain_search_is_quick(versions, given, filter, is_quick):
    asked = {"user_id": texts(["1"])}
    for name, value in given.items():
        if name == "exclude":
            asked[name] = Tensor(value, (1, len(value)))
        else:
            asked[name] = texts(value) if name == "user_id" else number(value)
    version = versions["scann"]
    native = version.native
    assert native is not None
    assert native.is_quick(version.call("serving_default", asked, filter)) is is_quick
    assert not native.is_quick(version.call("exact", {"user_id": texts(["1"])}))


def test_a_query_that_has_to_be_parsed_is_not_quick(versions):
    version = versions["rich"]
    assert version.native is not None
    asked = {"examples": texts([example(user_id="1")])}
    assert not version.native.is_quick(version.call("serving_examples", asked))


# The cache of embedded queries


class Tower:
    """Embeds by a sum, and counts what it embeds."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, features: dict[str, np.ndarray]) -> np.ndarray:
        rows = len(next(iter(features.values())))
        self.asked.append(rows)
        found = np.zeros((rows, 2), np.float32)
        for name in sorted(features):
            for at, value in enumerate(features[name]):
                texts_ = value if isinstance(value, np.ndarray) else [value]
                found[at] += [
                    len(name) * sum(map(_weight, texts_)),
                    sum(map(_weight, texts_)),
                ]
        return found


def _weight(value: Any) -> float:
    if isinstance(value, bytes):
        return float(sum(value))
    return 0.0 if np.isnan(value) else float(value)


def objects(values: Any) -> np.ndarray:
    array = np.array(values, object)
    return array if array.size else array.reshape(len(values), 0)


QUERIES = st.lists(
    st.tuples(
        st.sampled_from([b"", b"a", b"b"]),
        st.sampled_from([np.nan, 0.0, 1.5]),
        st.lists(st.sampled_from([b"x", b"y"]), min_size=2, max_size=2),
    ),
    max_size=5,
)


def batch(queries: list[Any], order: tuple[str, ...]) -> dict[str, np.ndarray]:
    columns = {
        "user": objects([user for user, _, _ in queries]).reshape(len(queries)),
        "age": np.array([age for _, age, _ in queries], np.float32),
        "tags": objects([tags for _, _, tags in queries]).reshape(len(queries), 2),
    }
    return {name: columns[name] for name in order}


NAMES = ("user", "age", "tags")


@given(
    st.lists(st.tuples(QUERIES, st.permutations(NAMES)), max_size=6),
    st.sampled_from([0, 1, 3, 100]),
)
def test_a_cache_changes_no_answer(batches, size):
    tower, plain, cache = Tower(), Tower(), QueryCache(size)
    for queries, order in batches:
        features = batch(queries, order)
        np.testing.assert_array_equal(cache.embed(features, tower), plain(features))
    if size:
        asked = [query for queries, _ in batches for query in queries]
        assert cache.hits + cache.misses == len(asked)
        assert sum(tower.asked) <= len(asked)


def test_a_query_that_was_asked_is_not_embedded_again():
    tower, cache = Tower(), QueryCache(10)
    queries = [(b"a", np.nan, [b"x", b"y"]), (b"b", 1.5, [b"x", b""])]
    cache.embed(batch(queries, NAMES), tower)
    cache.embed(batch(queries[::-1], NAMES[::-1]), tower)
    assert tower.asked == [2]
    assert (cache.hits, cache.misses) == (2, 2)
    cache.embed(batch([queries[0], (b"c", np.nan, [b"x", b"y"])], NAMES), tower)
    assert tower.asked == [2, 1]


def test_features_do_not_stand_in_for_each_other():
    tower, cache = Tower(), QueryCache(10)
    first = {"city": objects([b"a"]), "user": objects([b"b"])}
    second = {"user": objects([b"a"]), "city": objects([b"b"])}
    cache.embed(first, tower)
    cache.embed(second, tower)
    assert tower.asked == [1, 1]


def test_only_the_last_queries_are_kept():
    tower, cache = Tower(), QueryCache(2)
    for user in (b"a", b"b", b"c", b"b", b"c", b"a"):
        cache.embed({"user": objects([user])}, tower)
    assert (cache.hits, cache.misses) == (2, 4)


def test_an_empty_batch_is_embedded_too(versions):
    version = versions["rich"]
    call = version.call(
        "serving_default",
        {
            "user_id": texts([]), "city": texts([]), "tags": Tensor([], (0, 0)),
            "age": Tensor(np.zeros(0, np.float32), (0,)),
            "taste": Tensor(np.zeros(0, np.float32), (0, 2)),
        },
    )  # fmt: skip
    for engine in version.engines:
        (answer,) = engine.answer([call])
        assert not isinstance(answer, Failure)
        assert answer["candidate_id"].shape == (0, DEFAULT_K)
