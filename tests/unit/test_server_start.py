# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What a server needs to start: packages, and a way to be stopped.

The packages are those of requirements/NAME-serving.lock: in a process of its own all
others that are installed here, and the rooms that train, can't be imported.
"""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import serving.process
from serving import stacks

LOCK = (
    Path(__file__).parents[2] / "requirements" / f"{stacks.RUNNING.name}-serving.lock"
)
QUERY = {"user_id": "7"}
LOCKED_ONLY = """
import importlib.metadata, json, pathlib, re, sys

text = pathlib.Path(sys.argv[1]).read_text()
held = {"shortlist", "tensorflow", *re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE)}
for module, owners in importlib.metadata.packages_distributions().items():
    if not held & {re.sub(r"[-_.]+", "-", owner).lower() for owner in owners}:
        sys.modules[module] = None
sys.modules["components"] = sys.modules["trainer"] = None
"""
LOAD = """
import serving.process
serving.process.set_up()
import serving.server.run
from serving.model import Recommender
from serving.server.options import ServerOptions
from serving.server.versions import Version

path, query = sys.argv[2], json.loads(sys.argv[3])
engines = [Version(path, ServerOptions(engine=e)) for e in ("native", "saved_model")]
print(json.dumps({
    "engines": [one.engine_name for one in engines],
    "native": engines[0].engine.recommend(engines[0].engine.read_query(query), 5),
    "saved_model": Recommender(path).recommend(query, 5),
    "keras": any(name.partition(".")[0] in ("keras", "tf_keras") and module
                 for name, module in sys.modules.items()),
}))
"""
RECOMMEND = """
from pipeline.cli import main
query = "{}={}".format(*next(iter(json.loads(sys.argv[3]).items())))
arguments = ["--model", sys.argv[2], "--query", query, "-k", "5", "--format", "json"]
sys.exit(main(["recommend", *arguments]))
"""


@pytest.mark.parametrize("kind", ["exact", "scann"])
def test_a_model_is_loaded_and_asked_with_the_packages_of_the_lock(
    kind, build, load, run_python
):
    arguments = str(LOCK), build(kind).path, json.dumps(QUERY)
    done = run_python("-c", LOCKED_ONLY + LOAD, *arguments)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["engines"] == ["native", "saved_model"]
    assert not told["keras"]
    wanted = load(kind).recommend(QUERY, 5)
    assert told["saved_model"] == wanted
    assert [one["candidate_id"] for one in told["native"]] == [
        one["candidate_id"] for one in wanted
    ]


def test_recommend_runs_on_the_packages_of_the_lock(build, load, run_python):
    arguments = str(LOCK), build("scann").path, json.dumps(QUERY)
    done = run_python("-c", LOCKED_ONLY + RECOMMEND, *arguments)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["recommendations"]
    wanted = load("scann").recommend(QUERY, 5)
    assert [one["title"] for one in found] == [one["title"] for one in wanted]


def test_packages_outside_the_lock_are_really_out_of_reach(run_python):
    done = run_python("-c", LOCKED_ONLY + "import pandas", str(LOCK))
    assert "pandas" in done.stderr
    assert done.returncode == 1


def handles(pid: int, number: signal.Signals) -> bool:
    """Tells whether a process has a handler of its own for a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    (caught,) = (
        line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")
    )
    return bool(int(caught, 16) >> number - 1 & 1)


def test_a_server_that_still_imports_can_be_stopped(tmp_path):
    # The kernel keeps signals without a handler from process 1 of a container.
    code = "import sys; from pipeline.cli import main; sys.exit(main())"
    arguments = ["serve", "--model-base-path", str(tmp_path), "--grpc-port", "0"]
    started = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=serving.process.child_environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 60
    while not handles(started.pid, signal.SIGTERM):
        assert started.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)
    started.send_signal(signal.SIGTERM)
    _, said = started.communicate(timeout=60)
    assert (started.returncode, said) == (128 + signal.SIGTERM, "")
