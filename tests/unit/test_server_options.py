# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Options of `shortlist serve`: ranges, the command line, and files that are none."""

import asyncio
import dataclasses
import socket

import pytest

from pipeline.cli.main import main
from serving.errors import UserError
from serving.server.options import ServerOptions
from serving.server.run import Server

NUMBERS = [
    field.name
    for field in dataclasses.fields(ServerOptions)
    if isinstance(field.default, int | float)
]
FLOATS = [
    field.name
    for field in dataclasses.fields(ServerOptions)
    if isinstance(field.default, float)
]


def option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


@pytest.mark.parametrize("name", NUMBERS)
def test_no_number_may_be_negative(name):
    with pytest.raises(UserError, match=f"^{option(name)} must be .*, got -1"):
        ServerOptions(**{name: -1})


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_time_is_finite(name, value):
    with pytest.raises(UserError, match=f"^{option(name)} must be a finite number"):
        ServerOptions(**{name: value})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"engine": "fast"}, "--engine must be auto, native or saved_model, got fast"),
        (
            {"rest_port": 0, "grpc_port": 0},
            "--rest-port and --grpc-port are both 0; nothing is served",
        ),
        ({"rest_port": 65_536}, "--rest-port must be at most 65535, got 65536"),
        ({"grpc_port": 70_000}, "--grpc-port must be at most 65535, got 70000"),
        (
            {"tls_key": "key.pem"},
            "TLS needs both --tls-certificate and --tls-key",
        ),
        (
            {"tls_certificate": "cert.pem"},
            "TLS needs both --tls-certificate and --tls-key",
        ),
        ({"max_rows": 0}, "--max-rows must be at least 1, got 0"),
        ({"poll_s": 0.0}, "--poll-s must be more than 0, got 0"),
        ({"deadline_ms": 0.0}, "--deadline-ms must be more than 0, got 0"),
    ],
)
def test_what_cant_be_meant_is_one_sentence(changes, sentence):
    with pytest.raises(UserError) as caught:
        ServerOptions(**changes)
    assert str(caught.value) == sentence


def test_one_protocol_may_be_left_out():
    assert ServerOptions(rest_port=0).grpc_port
    assert ServerOptions(grpc_port=0).rest_port


def test_every_core_answers_unless_threads_are_told():
    assert ServerOptions().answering_threads >= 1
    assert ServerOptions(threads=3).answering_threads == 3


def test_help_tells_every_option(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["serve", "--help"])
    assert stopped.value.code == 0
    said = capsys.readouterr().out
    for field in dataclasses.fields(ServerOptions):
        assert option(field.name) in said


@pytest.mark.parametrize(
    "arguments",
    [["--rest-port", "http"], ["--nope"], ["--root", "a", "--model-base-path", "b"]],
)
def test_wrong_use_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["serve", *arguments])
    assert stopped.value.code == 2
    assert "usage: shortlist" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--poll-s", "0"], "--poll-s must be more than 0, got 0"),
        (["--model-config-file", "nope"], "nope can't be read"),
        (["--model-config-file", "a", "--name", "b"], "--name is for"),
        (["--root", "nope"], "no pushed version in nope; run 'shortlist run CONFIG'"),
        (["--model-base-path", "m", "--name", "a/b"], "the model's name must be"),
        (["--model", "."], "--model is for the registry and . is a folder; serve a"),
        (["--model", "nope"], "nope names no version; write models:/NAME@champion"),
    ],
)
def test_what_fails_is_one_sentence_and_1(arguments, sentence, capsys, tmp_path):
    assert main(["serve", *arguments]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"shortlist serve: {sentence}")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "can't be read"), (b"", "is empty"), (b" \n", "is empty"),
     (b"\xff", "can't be read")],
)  # fmt: skip
def test_a_token_file_without_a_token_is_told(content, sentence, tmp_path):
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=f"{path}.*{sentence}"):
        Server([], ServerOptions(token_file=str(path)))


def test_a_tls_pair_that_is_none_is_told(tmp_path):
    certificate, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    options = ServerOptions(tls_certificate=certificate, tls_key=key)
    with pytest.raises(UserError, match=f"{certificate} can't be read"):
        Server([], options)
    for path in (certificate, key):
        with open(path, "w") as file:
            file.write("nothing")
    with pytest.raises(UserError, match=f"{certificate} and .* are no pair of PEM"):
        Server([], options)


@pytest.mark.parametrize("name", ["rest_port", "grpc_port"])
def test_a_port_that_is_taken_is_told(name):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        options = ServerOptions(**{"rest_port": 0, "grpc_port": 0, name: port})
        with pytest.raises(UserError) as caught:
            asyncio.run(Server([], options).serve())
    assert str(caught.value) == (
        f"can't listen at 127.0.0.1 port {port}: it is in use or not of this machine; "
        f"name another {option(name)} or --host"
    )


def test_a_host_of_another_machine_is_told():
    options = ServerOptions(host="192.0.2.1", grpc_port=0)
    with pytest.raises(UserError, match="^can't listen at 192.0.2.1 port 8501: "):
        asyncio.run(Server([], options).serve())
