# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""S3 on this machine, for TensorFlow's and Beam's s3:// file systems."""

import contextlib
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import boto3
from botocore.exceptions import EndpointConnectionError

from tests.serving.asking import HOST, free_ports, until

_REGION = "eu-west-1"


@contextlib.contextmanager
def served(folder: pathlib.Path, *names: str) -> Iterator[dict[str, str]]:
    """Serves empty buckets, in a process of its own.

    Args:
      folder: For its log.
      *names: Of the buckets.

    Yields:
      The environment of a process whose s3:// leads here.
    """
    (port,) = free_ports(1)
    address = f"http://{HOST}:{port}"
    values = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_EC2_METADATA_DISABLED": "true",
        # TensorFlow's
        "AWS_REGION": _REGION,
        "S3_ENDPOINT": address,
        "S3_USE_HTTPS": "0",
        "S3_VERIFY_SSL": "0",
        # boto3's, and so Beam's
        "AWS_DEFAULT_REGION": _REGION,
        "AWS_ENDPOINT_URL": address,
    }
    command = [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    client = boto3.client(
        "s3",
        endpoint_url=address,
        region_name=_REGION,
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )

    def answers() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        try:
            client.list_buckets()
        except EndpointConnectionError:
            return False
        return True

    try:
        until("S3 answers", answers)
        for name in names:
            client.create_bucket(
                Bucket=name, CreateBucketConfiguration={"LocationConstraint": _REGION}
            )
        yield values
    finally:
        process.kill()
        process.wait()
