# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The page of `shortlist serve` in a real browser, over servers of their own process.

What it shows is held against what the API answers to a client of its own.
"""

import dataclasses
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlencode, urlsplit

# First of all: it sets TensorFlow up.
from tests.unit.conftest import clustered, save_towers, write_shards

# isort: split
import numpy as np
import pyarrow as pa
import pytest
import schemathesis
import tensorflow as tf
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from serving import checksums, histories, manifest
from serving.build import build_servable
from serving.index_config import IndexConfig, plan_index
from serving.process import child_environment
from serving.servable import Servable

CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic",
    "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
)  # fmt: skip
pytestmark = pytest.mark.skipif(
    not (os.path.exists(CHROMIUM) and os.path.exists(DRIVER)),
    reason="Chromium is not installed (Debian: apt-get install chromium "
    "chromium-driver)",
)

WAIT_S = 60
SERVE = "import sys; from pipeline.cli import main; sys.exit(main())"
USERS = [str(number) for number in range(1, 41)]
IDS = [f"m{number}" for number in range(400)]
TRAP = "<script>window.trapped = 1</script><img src=x onerror='window.trapped = 1'>"
TOKEN = "open-sesame"


@dataclasses.dataclass(frozen=True)
class Server:
    """A running `shortlist serve`."""

    url: str
    token: str = ""

    def get(self, path: str, *parameters: tuple[str, Any]) -> tuple[int, Any]:
        """Asks it as any client would; returns the status and the answer."""
        url = f"{self.url}{path}?{urlencode(parameters)}"
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            with urllib.request.urlopen(
                urllib.request.Request(url, headers=headers)
            ) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as refused:
            return refused.code, json.load(refused)

    def both(self, user: str, *parameters: tuple[str, Any]) -> list[list[dict]]:
        """What the index and exact search recommend a user."""
        given = (("user_id", user), *parameters)
        return [
            self.get("v1/models/films:recommend", *given, ("exact", exact))[1][
                "recommendations"
            ]
            for exact in ("false", "true")
        ]


def films(folder: pathlib.Path) -> str:
    """Makes versions 1 and 2 of a model by a careless ScaNN index; returns the folder.

    One of the titles, which is among the first for everybody, is a script.
    """
    draw = np.random.default_rng(5)
    titles = [f"Film {number}" for number in range(len(IDS))]
    titles[0] = TRAP
    towers, shards, base = (str(folder / one) for one in ("towers", "shards", "films"))
    bias = np.zeros(len(IDS), np.float32)
    bias[0] = 10
    _, vectors = save_towers(
        towers,
        USERS,
        IDS,
        draw.normal(size=(len(USERS), 8)).astype(np.float32),
        clustered(len(IDS), 8, 10, seed=3),
        bias,
    )
    vocabulary = folder / "candidates"
    vocabulary.write_text("".join(f"{one}\n" for one in IDS))
    # The first user has chosen 60 candidates, the others three each.
    users = np.repeat(np.arange(len(USERS)), [60] + [3] * (len(USERS) - 1))
    chosen = draw.permutation(len(IDS))[np.arange(len(users)) % len(IDS)]
    histories.write(towers, users, chosen, len(USERS), str(vocabulary))
    write_shards(shards, IDS, titles, vectors)
    config = IndexConfig(kind="scann", leaves=20, leaves_to_search=2, reorder=20)
    build_servable(towers, shards, config, f"{base}/1", {"pipeline": "films"})
    shutil.copytree(f"{base}/1", f"{base}/2")
    for version in ("1", "2"):
        checksums.write(f"{base}/{version}")
    return base


class SessionTowers(tf.Module):
    """Towers that know no ids: what was seen says what comes, and so does a place."""

    query_features = {
        "age": tf.TensorSpec([None], tf.float32, "age"),
        "place": tf.TensorSpec([None, 2], tf.float32, "place"),
        "seen": tf.TensorSpec([None, None], tf.string, "seen"),
    }
    candidate_features = {"id": tf.TensorSpec([None], tf.string, "id")}

    def embed_query(self, features: dict[str, tf.Tensor]) -> tf.Tensor:
        hits = tf.cast(features["seen"][:, :, tf.newaxis] == IDS[:4], tf.float32)
        age = tf.where(tf.math.is_nan(features["age"]), 0.0, features["age"])
        return (
            tf.reduce_sum(hits, axis=1)
            + tf.tile(features["place"], [1, 2])
            + age[:, tf.newaxis] * [0, 0, 0, 1]
        )

    def embed_candidate(self, features: dict[str, tf.Tensor]) -> tf.Tensor:
        return tf.zeros([tf.size(features["id"]), 4])

    def is_known_query(self, features: dict[str, tf.Tensor]) -> tf.Tensor:
        return features["age"] > 0


def sessions(folder: pathlib.Path) -> str:
    """Makes a model without ids of queries; returns its folder."""
    base = folder / "sessions"
    plan = plan_index(IndexConfig(kind="exact", k=4), 4, 4)
    vectors, ids = np.eye(4, dtype=np.float32), pa.array(IDS[:4], pa.large_string())
    path = str(base / "1")
    Servable(SessionTowers(), vectors, ids, ids, plan, str(folder)).save(path)
    manifest.write(path, {"index": plan.model_dump(), "candidates": 4})
    checksums.write(path)
    return str(base)


@pytest.fixture(scope="module")
def start(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., Server]]:
    """Starts a server of two models and waits until both answer."""
    folder = tmp_path_factory.mktemp("served")
    config = folder / "models.config"
    config.write_text(
        "model_config_list {"
        f" config {{ name: 'films' base_path: '{films(folder)}'"
        "  model_platform: 'tensorflow' model_version_policy { all {} } }"
        f" config {{ name: 'sessions' base_path: '{sessions(folder)}'"
        "  model_platform: 'tensorflow' } }"
    )
    running = []

    def start(*arguments: str, token: str = "") -> Server:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = Server(f"http://127.0.0.1:{port}/", token)
        command = [
            sys.executable, "-c", SERVE, "serve", "--model-config-file", str(config),
            "--rest-port", str(port), "--grpc-port", "0", *arguments,
        ]  # fmt: skip
        log = folder / f"{port}.log"
        with log.open("w") as file:
            running.append(
                subprocess.Popen(command, env=child_environment(), stderr=file)
            )
        _wait_until_ready(server, running[-1], log)
        return server

    yield start
    for process in running:
        process.terminate()
    for process in running:
        assert process.wait(WAIT_S) == 0


def _wait_until_ready(
    server: Server, process: subprocess.Popen, log: pathlib.Path
) -> None:
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until and process.poll() is None:
        try:
            if server.get("readyz")[0] == 200:
                return
        except urllib.error.URLError:
            pass  # it does not listen yet
        time.sleep(0.05)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def server(start: Callable[..., Server]) -> Server:
    return start()


@pytest.fixture(scope="module")
def locked(
    start: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory
) -> Server:
    """A server that wants a token."""
    file = tmp_path_factory.mktemp("token") / "token"
    file.write_text(TOKEN)
    return start("--token-file", str(file), token=TOKEN)


@pytest.fixture(scope="module")
def browser(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # Both paths are named, so that Selenium looks for nothing elsewhere.
    with webdriver.Chrome(options, Service(DRIVER)) as driver:
        yield driver


class Page:
    """The page, as who looks at it sees and uses it."""

    def __init__(self, browser: webdriver.Chrome):
        self.browser = browser
        self.refusals: tuple[int, ...] = ()
        """Statuses that the test provokes: browsers write them on the console."""

    def open(self, server: Server, fragment: str = "", fresh: bool = True) -> None:
        """Opens the page anew, or only changes the URL's fragment."""
        if fresh:
            self.browser.get("about:blank")
        self.browser.get(f"{server.url}#{fragment}" if fragment else server.url)

    def until(self, condition: Callable[[], Any]) -> Any:
        """Waits until something is so, whatever is replaced meanwhile."""
        return WebDriverWait(self.browser, WAIT_S, poll_frequency=0.05).until(
            lambda _: condition(), "it never came"
        )

    def js(self, code: str, *arguments: Any) -> Any:
        return self.browser.execute_script(code, *arguments)

    def find(self, id_: str) -> WebElement:
        return self.browser.find_element(By.ID, id_)

    def cross(self, place: str) -> WebElement:
        return self.browser.find_element(By.CSS_SELECTOR, f"[data-place='{place}']")

    def text(self, id_: str) -> str:
        """The text of an element, "" where it is not to be seen."""
        return self.js(
            "const e = document.getElementById(arguments[0]);"
            "return e.checkVisibility() ? e.innerText.trim() : ''",
            id_,
        )

    def texts(self, selector: str) -> list[str]:
        """The texts of all elements that can be seen."""
        return self.js(
            "return [...document.querySelectorAll(arguments[0])]"
            ".filter(e => e.checkVisibility()).map(e => e.textContent)",
            selector,
        )

    def side(self, side: int) -> list[tuple[str, str, str]]:
        """Ids, titles and scores that one side shows: 0: the index, 1: exact."""
        # At once: the rows may be replaced at any time.
        return [
            tuple(one)
            for one in self.js(
                "return [...document.querySelectorAll('#rows tr')]"
                ".filter(row => row.checkVisibility())"
                ".map(row => row.cells[1 + arguments[0]])"
                ".filter(cell => cell.firstChild)"
                ".map(cell => ['.id', '.title', '.score']"
                ".map(part => cell.querySelector(part).textContent))",
                side,
            )
        ]

    def shows(self, both: list[list[dict]]) -> bool:
        """Whether the two sides are these answers."""
        expected = [
            [
                (one["candidate_id"], one["title"] or one["candidate_id"])
                for one in results
            ]
            for results in both
        ]
        shown = [[(id_, title) for id_, title, _ in self.side(n)] for n in (0, 1)]
        return shown == expected

    def enter(self, id_: str, text: str) -> None:
        """Replaces what a field holds and presses Enter."""
        self.find(id_).send_keys(Keys.CONTROL + "a", Keys.DELETE)
        self.find(id_).send_keys(text, Keys.ENTER)

    def chips(self) -> list[str]:
        return self.texts("#excluded button")


@pytest.fixture
def page(browser: webdriver.Chrome) -> Iterator[Page]:
    """The browser, which must have no complaint of the page when the test is over."""
    browser.get_log("browser")
    page = Page(browser)
    yield page
    complaints = [
        entry["message"]
        for entry in browser.get_log("browser")
        if entry["level"] in ("SEVERE", "WARNING")
        and not any(f"a status of {one} " in entry["message"] for one in page.refusals)
    ]
    assert complaints == []


def test_answers_stand_side_by_side_as_the_api_gives_them(page: Page, server: Server):
    page.open(server)
    page.until(lambda: page.text("welcome"))
    page.enter("feature-user_id", "7")
    both = server.both("7")
    page.until(lambda: page.shows(both))
    for side, results in enumerate(both):
        scores = [float(score) for _, _, score in page.side(side)]
        np.testing.assert_allclose(scores, [one["score"] for one in results], 1e-4)
    for told in ("index-told", "exact-told"):
        assert re.fullmatch(r"\d+\.\d ms · version 2", page.text(told))
    assert "round trips as this browser has measured them" in page.text("results")
    assert page.browser.title == "7 – Shortlist"


def test_agreement_and_what_only_one_side_has_are_marked(page: Page, server: Server):
    kinds = set()
    for user in USERS[:12]:
        page.open(server, f"model=films&query.user_id={user}", fresh=False)
        both = server.both(user)
        page.until(lambda both=both: page.shows(both))
        ids = [[one["candidate_id"] for one in results] for results in both]
        common = len(set(ids[0]) & set(ids[1]))
        assert page.text("share") == f"{common * 10} %"
        assert page.text("recall").startswith("recall@10 against exact search")
        assert f"found {common} of its 10" in page.text("recall")
        for side, other in ((0, 1), (1, 0)):
            marks = page.texts(f"#rows td:nth-of-type({side + 1}) .mark")
            expected = [
                ("only index", "only exact")[side]
                if id_ not in ids[other]
                else "="
                if ids[other].index(id_) == at
                else f"#{ids[other].index(id_) + 1}"
                for at, id_ in enumerate(ids[side])
            ]
            assert marks == expected
            kinds |= {re.sub(r"\d+", "n", mark) for mark in marks}
    # Else the test has seen less than there is to see.
    assert kinds == {"=", "#n", "only index", "only exact"}


def test_known_ids_are_suggested(page: Page, server: Server):
    page.open(server)
    page.until(lambda: page.text("welcome"))
    page.find("feature-user_id").send_keys("3")
    (_, known) = server.get("v1/models/films/queries", ("prefix", "3"))
    assert len(known["ids"]) == 11
    suggested = (
        "return [...document.querySelectorAll('#known option')].map(e => e.value)"
    )
    page.until(lambda: page.js(suggested) == known["ids"])


def test_one_click_on_an_example_is_enough(page: Page, server: Server):
    page.open(server)
    page.until(lambda: page.text("welcome"))
    example = page.browser.find_element(By.CSS_SELECTOR, "#examples button")
    user = example.text
    assert user in USERS
    example.click()
    page.until(lambda: page.shows(server.both(user)))
    assert not page.text("welcome")


def test_a_history_is_shown_and_its_candidates_left_out_at_a_click(
    page: Page, server: Server
):
    page.open(server, "model=films&query.user_id=1")
    _, known = server.get("v1/models/films/history", ("user_id", 1), ("limit", 50))
    ids = [one["candidate_id"] for one in known["history"]]
    page.until(lambda: page.texts("#past .id") == ids)
    assert page.texts("#past .title") == [one["title"] for one in known["history"]]
    assert (len(ids), known["total"]) == (50, 60)
    assert page.text("history-told") == "50 of 60 that training has seen"
    page.cross("past-1").click()
    page.until(lambda: page.texts("#past .out .id") == [ids[1]])
    page.until(lambda: page.shows(server.both("1", ("exclude", ids[1]))))
    page.find("all-out").click()
    out = [("exclude", one) for one in (ids[1], *ids)]
    page.until(lambda: page.shows(server.both("1", *out)))
    page.cross("past-1").click()  # a second click brings it back
    page.until(lambda: len(page.texts("#past .out .id")) == 49)


def test_no_history_is_told(page: Page, server: Server):
    page.open(server, "model=films&query.user_id=nobody")
    page.until(lambda: page.text("history-told") == "No history is known.")
    page.open(server, "model=sessions&query.seen=m1")
    page.until(lambda: page.text("history-told") == "No history is known.")


def test_a_cross_leaves_a_result_out_and_its_chip_brings_it_back(
    page: Page, server: Server
):
    page.open(server, "model=films&query.user_id=9")
    before = server.both("9")
    page.until(lambda: page.shows(before))
    out = before[1][2]
    page.cross("1-2").click()
    without = server.both("9", ("exclude", out["candidate_id"]))
    page.until(lambda: page.shows(without))
    assert page.chips() == [f"{out['title']} ×"]
    page.cross("0-0").click()
    both = [("exclude", one["candidate_id"]) for one in (out, without[0][0])]
    page.until(lambda: page.shows(server.both("9", *both)))
    page.cross("out-0").click()
    page.until(lambda: page.shows(server.both("9", both[1])))
    page.cross("out-0").click()
    page.until(lambda: page.shows(before))
    assert page.chips() == []


def test_a_filter_is_obeyed_and_a_wrong_one_told_in_the_servers_words(
    page: Page, server: Server
):
    page.refusals = (400,)
    page.open(server, "model=films&query.user_id=4")
    page.until(lambda: page.shows(server.both("4")))
    page.enter("filter", "kind = song and year > 1990")
    found = server.both("4", ("filter", "kind = song and year > 1990"))
    page.until(lambda: page.shows(found))
    page.enter("filter", "kind = ")
    status, refused = server.get(
        "v1/models/films:recommend", ("user_id", 4), ("filter", "kind = ")
    )
    assert status == 400
    page.until(lambda: page.text("error") == refused["error"])
    assert page.texts("#rows td") == []  # what was found before is not its answer
    page.enter("filter", "year < 0")
    page.until(lambda: page.text("recall") == "nothing is left to recommend")
    assert not page.text("error")


@pytest.mark.parametrize("k", ["0", "100000", "1"])
def test_k_is_the_servers_to_judge(page: Page, server: Server, k: str):
    page.refusals = (400,)
    page.open(server, "model=films&query.user_id=4")
    page.until(lambda: page.shows(server.both("4")))
    page.enter("k", k)
    status, answer = server.get("v1/models/films:recommend", ("user_id", 4), ("k", k))
    if status == 200:
        page.until(lambda: page.shows(server.both("4", ("k", k))))
        assert page.text("recall").startswith("recall@1 against")
    else:
        page.until(lambda: page.text("error") == answer["error"])


def test_a_query_without_features_asks_nothing(page: Page, server: Server):
    page.open(server, "model=films&query.user_id=4")
    page.until(lambda: page.shows(server.both("4")))
    page.enter("feature-user_id", "")
    page.until(lambda: page.text("welcome"))
    assert page.texts("#rows td") == []


def test_a_title_is_text_whatever_it_holds(page: Page, server: Server):
    page.open(server, "model=films&query.user_id=4")
    page.until(lambda: page.shows(server.both("4")))
    assert page.side(1)[0][1] == TRAP
    page.cross("1-0").click()
    page.until(lambda: page.chips() == [f"{TRAP} ×"])
    page.until(lambda: page.shows(server.both("4", ("exclude", IDS[0]))))
    count = "return [document.scripts.length, document.images.length, window.trapped]"
    assert page.js(count) == [1, 0, None]


def test_the_browser_lets_the_page_run_and_reach_nothing_else(
    page: Page, server: Server, locked: Server
):
    page.open(server, "model=films&query.user_id=4")
    page.until(lambda: page.shows(server.both("4")))
    names = page.js("return performance.getEntries().map(e => e.name)")
    asked = [name for name in names if "://" in name]
    assert len(asked) > 5
    assert all(name.startswith(server.url) for name in asked)
    assert page.browser.get_log("browser") == []
    refused = page.browser.execute_async_script(
        "const [url, tell] = arguments;"
        "fetch(url).then(() => tell('came'), error => tell(error.name))",
        f"{locked.url}healthz",
    )
    assert refused == "TypeError"
    with pytest.raises(Exception, match="TrustedScript"):
        page.js("document.head.append(Object.assign(document.createElement('script'),"
                "{text: 'window.trapped = 1'}))")  # fmt: skip
    with pytest.raises(Exception, match="TrustedHTML"):
        page.js("document.body.innerHTML = '<b>'")
    assert page.js("return window.trapped") is None
    told = page.browser.get_log("browser")
    assert told, "the browser has not told of what it refused"


@pytest.mark.parametrize("path", ["", "docs"])
def test_pages_come_with_strict_headers(server: Server, path: str):
    with urllib.request.urlopen(server.url + path) as reply:
        headers = reply.headers
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src ")
    assert "connect-src 'self'" in policy
    assert "unsafe" not in policy.partition("style-src")[0]
    assert ("unsafe" in policy) == (path == "docs")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Content-Type"] == "text/html; charset=utf-8"


def test_the_page_is_small(server: Server):
    with urllib.request.urlopen(server.url) as reply:
        assert len(reply.read()) < 30_000


def test_a_token_is_asked_for_and_kept_in_memory_only(page: Page, locked: Server):
    page.refusals = (401,)
    link = "model=films&query.user_id=3&k=5"
    page.open(locked, link)
    refusal = Server(locked.url).get("v1/models/films/metadata")[1]["error"]
    page.until(lambda: page.text("refusal") == refusal)
    assert not page.text("columns")
    assert not page.text("links")
    page.enter("token", "friend")
    page.until(lambda: page.text("refusal") == refusal)
    page.enter("token", TOKEN)
    page.until(lambda: page.shows(locked.both("3", ("k", 5))))
    assert not page.text("entry")
    assert page.js("return document.getElementById('token').value") == ""
    page.cross("0-0").click()
    page.until(lambda: "exclude" in page.browser.current_url)
    assert "sesame" not in page.browser.current_url
    kept = page.js(
        "return JSON.stringify([{...localStorage}, {...sessionStorage},"
        " document.cookie, history.state])"
    )
    assert kept == '[{},{},"",null]'
    page.open(locked, link)
    page.until(lambda: page.text("refusal") == refusal)


def test_a_link_restores_what_it_was_taken_from(page: Page, server: Server):
    page.open(server)
    page.until(lambda: page.text("welcome"))
    Select(page.find("version")).select_by_value("1")
    page.until(lambda: "version=1" in page.browser.current_url)
    page.enter("k", "5")
    page.enter("filter", "year > 1950")
    page.enter("feature-user_id", "11")
    asked = (("k", 5), ("filter", "year > 1950"))
    page.until(lambda: page.shows(server.both("11", *asked)))
    page.cross("0-1").click()
    out = ("exclude", server.both("11", *asked)[0][1]["candidate_id"])
    page.until(lambda: page.shows(server.both("11", *asked, out)))
    link = urlsplit(page.browser.current_url).fragment
    page.open(server, link)
    page.until(lambda: page.shows(server.both("11", *asked, out)))
    fields = ("model", "version", "k", "filter", "feature-user_id")
    values = [page.find(one).get_property("value") for one in fields]
    assert values == ["films", "1", "5", "year > 1950", "11"]
    assert page.text("index-told").endswith("version 1")
    assert urlsplit(page.browser.current_url).fragment == link


def test_back_goes_to_the_question_before(page: Page, server: Server):
    page.open(server, "model=films&query.user_id=5")
    page.until(lambda: page.shows(server.both("5")))
    page.enter("feature-user_id", "6")
    page.until(lambda: page.shows(server.both("6")))
    page.browser.back()
    page.until(lambda: page.shows(server.both("5")))
    assert page.find("feature-user_id").get_property("value") == "5"


def test_what_a_link_names_and_nobody_serves_is_told(page: Page, server: Server):
    page.refusals = (404,)
    page.open(server, "model=films&version=7&query.user_id=5")
    (_, refused) = server.get("v1/models/films/versions/7/metadata")
    page.until(lambda: page.text("error") == refused["error"])
    Select(page.find("version")).select_by_value("")
    page.until(lambda: page.shows(server.both("5")))
    assert not page.text("error")


def test_a_model_is_asked_by_all_its_features(page: Page, server: Server):
    page.open(server)
    page.until(lambda: page.text("welcome"))
    Select(page.find("model")).select_by_value("sessions")
    page.until(lambda: page.texts("[data-feature]") == ["", "", ""])
    labels = page.texts("label:has([data-feature])")
    assert labels == [
        "age number",
        "place 2 numbers",
        "seen text, one a line",
    ]
    page.find("feature-seen").send_keys("m2\nm1\nm1")
    page.find("feature-place").send_keys("0.5,0.25")
    page.enter("feature-age", "3")
    given = [
        ("age", 3),
        ("place", "0.5,0.25"),
        ("seen", "m2"),
        ("seen", "m1"),
        ("seen", "m1"),
    ]
    _, answer = server.get("v1/models/sessions:recommend", *given)
    ids = [one["candidate_id"] for one in answer["recommendations"]]
    assert ids == ["m3", "m1", "m2", "m0"]
    page.until(lambda: page.shows([answer["recommendations"]] * 2))
    link = urlsplit(page.browser.current_url).fragment
    page.open(server, link)
    page.until(lambda: page.shows([answer["recommendations"]] * 2))
    assert page.find("feature-seen").get_property("value") == "m2\nm1\nm1"


def test_keys_alone_will_do(page: Page, server: Server):
    page.open(server)
    page.until(lambda: page.text("welcome"))

    def press(*keys: str) -> None:
        ActionChains(page.browser).send_keys(*keys).perform()

    def tab_to(condition: str) -> None:
        for _ in range(40):
            press(Keys.TAB)
            if page.js(
                f"return document.activeElement.matches({json.dumps(condition)})"
            ):
                return
        raise AssertionError(f"no key leads to {condition}")

    tab_to("#feature-user_id")
    press("8", Keys.ENTER)
    page.until(lambda: page.shows(server.both("8")))
    tab_to("[data-place='1-0']")
    press(Keys.SPACE)
    left = server.both("8", ("exclude", server.both("8")[1][0]["candidate_id"]))
    page.until(lambda: page.shows(left))
    # The rows are new ones; who stood at the first is at the first.
    assert page.js("return document.activeElement.dataset.place") == "1-0"
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert page.js(outline) == "solid"


def test_everything_that_can_be_used_has_a_name(page: Page, server: Server):
    page.open(server, "model=films&query.user_id=1&exclude=m1&exclude=m2")
    page.until(lambda: page.texts("#past .id"))
    used = page.browser.find_elements(By.CSS_SELECTOR, "button, input, select, a")
    seen = [one for one in used if one.is_displayed()]
    assert len(seen) > 60
    assert [
        one.get_attribute("outerHTML") for one in seen if not one.accessible_name
    ] == []
    assert page.cross("0-1").accessible_name.startswith("Leave out Film ")


def differing(server: Server) -> str:
    """Returns a user to whom the index does not recommend what exact search does."""
    for user in USERS:
        index, exact = server.both(user)
        if {one["candidate_id"] for one in index} != {
            one["candidate_id"] for one in exact
        }:
            return user
    raise AssertionError("the index is too good for this test")


_WEAK = """
const number = text => text.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map(one => one / 255)
  .map(one => one <= .04045 ? one / 12.92 : ((one + .055) / 1.055) ** 2.4)
  .reduce((sum, one, at) => sum + one * [.2126, .7152, .0722][at], 0);
function behind(element) {
  const found = number(getComputedStyle(element).backgroundColor);
  return found[3] === 0 ? behind(element.parentElement) : found;
}
const shows = element => element.checkVisibility() &&
  [...element.childNodes].some(one => one.nodeType === 3 && one.data.trim());
return [...document.querySelectorAll("body *")].filter(shows)
  .map(one => [one, [light(number(getComputedStyle(one).color)), light(behind(one))]])
  .map(([one, both]) => [one, both.sort((a, b) => b - a)])
  .filter(([, [most, least]]) => (most + .05) / (least + .05) < 4.5)
  .map(([one]) => one.outerHTML);
"""
"""Finds text whose contrast is below what WCAG asks for (AA, 4.5)."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1600])
def test_it_can_be_read(page: Page, server: Server, scheme: str, width: int):
    page.refusals = (400,)
    command = page.browser.execute_cdp_cmd
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    command("Emulation.setEmulatedMedia", {"features": features})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    command("Emulation.setDeviceMetricsOverride", size)
    try:
        page.open(server, f"model=films&query.user_id={differing(server)}&exclude=x")
        page.until(lambda: page.texts("#past .id") and page.texts("td.only"))
        back = page.js("return getComputedStyle(document.body).backgroundColor")
        assert (int(re.findall(r"\d+", back)[0]) > 128) == (scheme == "light")
        assert page.js(_WEAK) == []
        fits = "return [document.documentElement.scrollWidth <= innerWidth, innerWidth]"
        assert page.js(fits) == [True, width]
        page.enter("filter", "(")
        page.until(lambda: page.text("error"))
        assert page.js(_WEAK) == []
    finally:
        command("Emulation.setEmulatedMedia", {"features": []})
        command("Emulation.clearDeviceMetricsOverride", {})


@pytest.fixture
def prefixed(server: Server) -> Iterator[Server]:
    """The server behind a proxy that serves it below a path."""

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith("/below/"):
                self.send_error(404)
                return
            try:
                reply = urllib.request.urlopen(server.url + self.path[len("/below/") :])
            except urllib.error.HTTPError as refused:
                reply = refused
            with reply:
                content = reply.read()
                self.send_response(reply.status)
            for name in ("Content-Type", "Content-Security-Policy"):
                if reply.headers[name]:
                    self.send_header(name, reply.headers[name])
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        yield Server(f"http://127.0.0.1:{proxy.server_port}/below/")
        proxy.shutdown()
        thread.join()


def test_it_works_below_a_path(page: Page, server: Server, prefixed: Server):
    page.open(prefixed, "model=films&query.user_id=5")
    page.until(lambda: page.shows(server.both("5")))
    for name in ("API", "Metrics"):
        link = page.browser.find_element(By.LINK_TEXT, name).get_property("href")
        assert link.startswith(prefixed.url)
        with urllib.request.urlopen(link) as reply:
            assert reply.status == 200


def test_the_apis_document_is_a_valid_one(server: Server):
    document = schemathesis.openapi.from_url(f"{server.url}openapi.json")
    document.validate()
    # Of an older version, by what Swagger UI can show.
    assert document.raw_schema["openapi"].startswith("3.0.")


def test_the_pages_link_shows_the_api(page: Page, prefixed: Server):
    page.open(prefixed)
    page.until(lambda: page.text("welcome"))
    page.browser.find_element(By.LINK_TEXT, "API").click()
    page.until(
        lambda: (
            "/v1/models/{name}:recommend" in page.texts(".opblock-summary-path a span")
        )
    )
    names = page.js("return performance.getEntriesByType('resource').map(e => e.name)")
    remote = [one for one in names if not one.startswith((prefixed.url, "data:"))]
    assert remote == []
