# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""ML Metadata in a real MySQL server, where the machine has one (Debian: MariaDB)."""

import json
import os
import pathlib
import shutil
import subprocess
from collections.abc import Iterator

import pytest
import yaml

from tests.serving.asking import HOST, free_ports, until

SERVER = shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin")
# Metadata is looked at, not the model.
BRIEF = (
    "training.epochs=2",
    "index.kind=exact",
    "evaluation.confidence_intervals=false",
    "evaluation.ease_up_to=0",
    "evaluation.ials_up_to=0",
    "evaluation.gates.better_than_popularity=false",
)

pytestmark = pytest.mark.skipif(
    SERVER is None, reason="no mariadbd here (Debian: apt-get install mariadb-server)"
)


@pytest.fixture
def database(tmp_path: pathlib.Path) -> Iterator[dict]:
    """The config's section for a database that is empty."""
    assert SERVER
    (port,) = free_ports(1)
    data, password = tmp_path / "data", tmp_path / "password"
    password.write_text("a secret\n")
    start = tmp_path / "start.sql"
    start.write_text(
        "CREATE DATABASE mlmd;\n"
        "CREATE USER tfx@localhost IDENTIFIED BY 'a secret';\n"
        "GRANT ALL ON mlmd.* TO tfx@localhost;\n"
    )
    subprocess.run(
        ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--skip-test-db"],
        check=True,
        capture_output=True,
    )
    command = [
        SERVER, "--no-defaults", "--user=root", f"--datadir={data}", f"--port={port}",
        f"--bind-address={HOST}", f"--socket={tmp_path}/s", f"--init-file={start}",
    ]  # fmt: skip
    log = tmp_path / "log"
    with log.open("wb") as file:
        server = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    try:
        until("MariaDB answers", lambda: "ready for connections" in log.read_text())
        yield {
            "host": HOST, "port": port, "database": "mlmd", "user": "tfx",
            "password_file": str(password),
        }  # fmt: skip
    finally:
        server.terminate()
        server.wait()


def test_a_run_books_in_the_database_and_lineage_reads_it(
    database, new_home, home, tmp_path
):
    content = yaml.safe_load(home.config.read_text())
    content["metadata"] = {"mysql": database}
    for part in ("interactions", "candidates"):
        content[part]["schema"] = str(home.config.parent / content[part]["schema"])
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(content))
    ours = new_home(tmp_path / "runs", config, home.name, home.overrides + BRIEF)
    said = ours.shortlist(*ours.arguments())
    assert said.code == 0, said.stderr
    assert not (ours.folder / "metadata.db").exists()
    (version,) = ours.versions()

    def lineage(*arguments: str) -> dict:
        where = ("--root", str(ours.root), "--config", str(config))
        told = ours.shortlist("lineage", *arguments, *where, "--format", "json")
        assert told.code == 0, told.stderr
        return json.loads(told.stdout)

    found = lineage(version)
    assert found["version"] == version
    assert {"Trainer", "Pusher"} <= {step["node"] for step in found["steps"]}
    # All that is asked again is taken from the cache, which is in the database.
    again = ours.shortlist(*ours.arguments())
    assert again.code == 0, again.stderr
    assert ours.versions() == [version]
    assert lineage() == found
