"""What a TLS listener shows: a chain that verifies, its name, its end, and which old protocols it still takes.

The oldest protocols are offered by a ClientHello written here, byte for byte: the local TLS library may refuse to
speak them, which would say nothing about the server. Source of the format: RFC 4346, sections 6.2.1 and 7.4.1.2.
"""

import contextlib
import datetime as dt
import os
import socket
import ssl
import struct
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from smos.clock import Clock, SystemClock

LIMIT_S = 30.0
DAY_S = 86_400.0
TLS_1_0, TLS_1_1, TLS_1_2 = 0x0301, 0x0302, 0x0303
_SUITES = (0xC009, 0xC00A, 0xC013, 0xC014, 0x002F, 0x0035, 0x000A)
"""ECDHE and RSA with AES or 3DES in CBC mode: what TLS 1.0 and 1.1 had."""
_WEAK = (
    *(0x0001, 0x0002, 0x003B, 0xC006, 0xC010),  # no encryption
    *(0x0003, 0x0008, 0x0009),  # 40 and 56 bits
    *(0x0004, 0x0005, 0xC007, 0xC011),  # RC4 (forbidden by RFC 7465)
    *(0x000A, 0xC008, 0xC012),  # 3DES (SWEET32)
    *(0x0018, 0x001B, 0x0034, 0xC016, 0xC017, 0xC018),  # nobody is authenticated
)
"""Suites that TLS 1.2 knows and nobody may use."""
_SIGNATURES = (0x0403, 0x0503, 0x0804, 0x0805, 0x0401, 0x0501)
_HANDSHAKE, _ALERT, _SERVER_HELLO = 22, 21, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFacts:
    """One listener. verified: the chain and the name fit; None: it could not be asked. reason: why not.

    version: what was agreed on, e.g. TLSv1.3. days_left: until the certificate ends, negative when it has.
    takes_old: whether TLS 1.0 or 1.1 is taken; takes_plain: whether HTTP without TLS gets an answer of Vault's.
    takes_weak: whether a suite without encryption, with RC4, 3DES or without a certificate is taken.
    """

    address: str
    verified: bool | None
    reason: str = ""
    version: str | None = None
    days_left: float | None = None
    takes_old: bool | None = None
    takes_plain: bool | None = None
    takes_weak: bool | None = None


def read_tls(url: str, *, ca: Path | None = None, clock: Clock | None = None) -> TlsFacts:
    """Ask the listener at `url` (https); never raises for its answers. ca: PEM file to trust, else the system's."""
    split = urlsplit(url)
    host, port = split.hostname or "", split.port or 443
    shown = f"{host}:{port}"
    try:
        context = ssl.create_default_context(cafile=str(ca) if ca else None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        with _connected(host, port) as plain, context.wrap_socket(plain, server_hostname=host) as wrapped:
            certificate = wrapped.getpeercert() or {}
            version = wrapped.version()
    except ssl.SSLCertVerificationError as error:
        return TlsFacts(address=shown, verified=False, reason=error.verify_message)
    except ssl.SSLError as error:
        return TlsFacts(address=shown, verified=False, reason=error.reason or "no TLS 1.2 or newer")
    except OSError as error:
        return TlsFacts(address=shown, verified=None, reason=type(error).__name__)
    ends = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
    now = (clock or SystemClock()).now().astimezone(dt.UTC).timestamp()
    return TlsFacts(
        address=shown,
        verified=True,
        version=version,
        days_left=round((ends - now) / DAY_S, 2),
        takes_old=_either(_takes(host, port, TLS_1_0), _takes(host, port, TLS_1_1)),
        takes_plain=_answers_plain(host, port),
        takes_weak=_takes(host, port, TLS_1_2, _WEAK),
    )


def _connected(host: str, port: int) -> socket.socket:
    return socket.create_connection((host, port), timeout=LIMIT_S)


def _either(one: bool | None, other: bool | None) -> bool | None:  # noqa: FBT001  (two facts)
    return None if None in {one, other} else bool(one or other)


def _takes(host: str, port: int, version: int, suites: tuple[int, ...] = _SUITES) -> bool | None:
    """Offer one version with these suites; a ServerHello takes it, an alert or a closed connection refuses it."""
    try:
        with _connected(host, port) as connection:
            connection.sendall(_client_hello(version, suites))
            answer = b""
            with contextlib.suppress(ConnectionResetError):
                while len(answer) < 6 and (part := connection.recv(4096)):
                    answer += part
    except OSError:
        return None
    if len(answer) < 6 or answer[0] == _ALERT:
        return False
    if answer[0] == _HANDSHAKE and answer[5] == _SERVER_HELLO:
        return True
    return None


def _client_hello(version: int, offered: tuple[int, ...]) -> bytes:
    suites = b"".join(struct.pack("!H", suite) for suite in offered)
    curves = struct.pack("!HHHHH", 10, 6, 4, 23, 24)  # supported_groups: secp256r1, secp384r1
    formats = struct.pack("!HHBB", 11, 2, 1, 0)  # ec_point_formats: uncompressed
    extensions = curves + formats
    if version >= TLS_1_2:
        schemes = b"".join(struct.pack("!H", scheme) for scheme in _SIGNATURES)
        extensions += struct.pack("!HHH", 13, len(schemes) + 2, len(schemes)) + schemes
    body = struct.pack("!H", version) + os.urandom(32) + b"\x00"
    body += struct.pack("!H", len(suites)) + suites + b"\x01\x00"
    body += struct.pack("!H", len(extensions)) + extensions
    hello = b"\x01" + struct.pack("!I", len(body))[1:] + body
    return struct.pack("!BHH", _HANDSHAKE, TLS_1_0, len(hello)) + hello


def _answers_plain(host: str, port: int) -> bool | None:
    """Ask for Vault's health without TLS; only an answer of Vault's own counts, not a TLS server's complaint."""
    try:
        with _connected(host, port) as connection:
            connection.sendall(f"GET /v1/sys/health HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
            answer = b""
            with contextlib.suppress(ConnectionResetError):
                while len(answer) < 65_536 and (part := connection.recv(4096)):
                    answer += part
    except OSError:
        return None
    return b'"initialized"' in answer
