"""Short-lived certificates for servers on loopback: an authority of its own, thrown away with its run.

Nobody trusts this authority but the client that is handed its file; its key never touches a disk.
"""

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from smos.clock import Clock, SystemClock
from smos.provision.owner import Owner

LIFETIME_S = 24 * 3600.0
"""Longer than any run."""
PRIVATE_DOMAIN = "smos.internal"
"""Servers in one private network know each other by names below it (a top-level domain that is nobody's)."""
EARLIER = dt.timedelta(minutes=5)
"""A certificate is valid from a little earlier, so that a clock that is stepped back does not refuse it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files of one server: the authority to trust, the server's certificate, its private key."""

    ca: Path
    certificate: Path
    key: Path


def make_certificate(
    owner: Owner,
    directory: Path,
    *,
    address: str = "127.0.0.1",
    lifetime_s: float = LIFETIME_S,
    clock: Clock | None = None,
) -> TlsFiles:
    """Write an authority and a certificate for `address` (an IP address) and `localhost` into `directory`.

    It is good for every name of a private network too, by which containers reach each other.
    lifetime_s: seconds from now; negative: a certificate that ended that long ago. The key can be read by the
    service user and root alone.
    """
    now = (clock or SystemClock()).now()
    until = now + dt.timedelta(seconds=lifetime_s)
    since = min(now, until) - EARLIER
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _name("smos test authority")
    ca = (
        _builder(authority, authority, ca_key.public_key(), since, max(until, now) + EARLIER)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    names = [
        x509.IPAddress(ipaddress.ip_address(address)),
        x509.DNSName("localhost"),
        x509.DNSName(f"*.{PRIVATE_DOMAIN}"),
    ]
    certificate = (
        _builder(_name("smos test server"), authority, key.public_key(), since, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .add_extension(_usage(signs_certificates=False), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    files = TlsFiles(
        ca=directory / "ca.pem", certificate=directory / "server.pem", key=directory / "server.key"
    )
    pem = serialization.Encoding.PEM
    owner.write(files.ca, ca.public_bytes(pem).decode())
    owner.write(files.certificate, certificate.public_bytes(pem).decode())
    plain = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )  # a server that starts without a person can't ask for a passphrase
    owner.write(files.key, plain.decode())
    return files


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    since: dt.datetime,
    until: dt.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
