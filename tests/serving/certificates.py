# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Certificates and keys of test servers and clients, good for nothing else."""

import datetime
import ipaddress
import json
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.serving.asking import HOST


def make_certificate(
    folder: pathlib.Path, *hosts: str
) -> tuple[pathlib.Path, pathlib.Path]:
    """Writes a certificate for this machine that is signed by itself, and its key.

    Args:
      folder: Where to.
      *hosts: Other hosts that the certificate is for.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    names = x509.SubjectAlternativeName(
        [
            *[x509.DNSName(host) for host in ("localhost", *hosts)],
            x509.IPAddress(ipaddress.ip_address(HOST)),
        ]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


def make_service_account(folder: pathlib.Path) -> pathlib.Path:
    """Writes the key file of a service account that nobody knows."""
    key = rsa.generate_private_key(65537, 2048)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = folder / "service-account.json"
    path.write_text(
        json.dumps(
            {
                "type": "service_account",
                "project_id": "shop",
                "private_key_id": "1",
                "private_key": private.decode(),
                "client_email": "tests@shop.iam.gserviceaccount.com",
                "client_id": "1",
                "token_uri": f"http://{HOST}:1/token",
            }
        )
    )
    return path
