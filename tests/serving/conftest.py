"""One served project for the tests that only look."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from orchestrator.reporting.export.files import write_results
from tests.reporting.made import Row, Size, fleet, make_run, troubles

from .site import Site, serving

SMALL = Size(40, 20)


@pytest.fixture(scope="package")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, the second with rows of all sorts."""
    root = tmp_path_factory.mktemp("served")
    two = [Row("ref", "This host", "host", reference=True), Row("vim3", lot=1)]
    make_run(root, "20260101-000000-aaaa", two, size=SMALL)
    make_run(
        root, "20260102-000000-bbbb", fleet(), at=1_700_100_000.0, size=SMALL, extra=troubles()
    )
    for folder in ("20260101-000000-aaaa", "20260102-000000-bbbb"):
        write_results(root / "runs" / folder)
    return root


@pytest.fixture(scope="package")
def site(project: Path) -> Iterator[Site]:
    with serving(project) as found:
        yield found


@pytest.fixture(scope="package")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A certificate of `lab.example` and 127.0.0.1, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lab.example")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName(
        [x509.DNSName("lab.example"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return str(folder / "cert.pem"), str(folder / "key.pem")
