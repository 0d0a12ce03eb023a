"""RFC 3161 time stamps: a third party says that a signed statement existed at a moment. Optional.

The stamp lies beside the envelope as `run.dsse.json.tsr`; `openssl ts -verify` reads it as well.
"""

import hashlib
from datetime import datetime
from pathlib import Path

from cryptography import x509
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from smos.errors import SmosError, TargetError
from smos.paths import require_regular

REQUEST_S = 15.0
"""Seconds that the authority may take."""
LARGEST = 2**20
"""Bytes of an answer; real ones have some kB."""
SHA512_OID = "2.16.840.1.101.3.4.2.3"


def request_stamp(url: str, data: bytes) -> bytes:
    """Return the authority's answer (DER) over `data`. Raises SmosError when there is none, or it does not fit."""
    import httpx

    query = TimestampRequestBuilder().data(data).hash_algorithm(HashAlgorithm.SHA512).build()
    remedy = "look whether the authority answers, or leave evidence.timestamp_url out"
    try:
        answer = httpx.post(
            url,
            content=query.as_bytes(),
            headers={"Content-Type": "application/timestamp-query"},
            timeout=REQUEST_S,
        )
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise SmosError(
            f"The time-stamping authority gave no stamp: {type(error).__name__}", remedy=remedy
        ) from error
    if stamped_at(answer.content, data) is None:
        raise SmosError("The time-stamping authority's answer is no stamp of this statement", remedy=remedy)
    return answer.content


def stamped_at(stamp: bytes, data: bytes) -> datetime | None:
    """Return the moment that a stamp of `data` names; None when it is none, or one of other data.

    Who made it is not checked here.
    """
    if len(stamp) > LARGEST:
        return None
    try:
        info = decode_timestamp_response(stamp).tst_info
    except ValueError:
        return None
    algorithm = "sha512" if info.message_imprint.hash_algorithm.dotted_string == SHA512_OID else "sha256"
    if info.message_imprint.message != hashlib.new(algorithm, data).digest():
        return None
    return info.gen_time


def made_by(stamp: bytes, data: bytes, authority: Path) -> str:
    """Return why a stamp was not made over `data` by an authority whose certificates lie in `authority` (PEM).

    Empty when it was. Raises TargetError when the certificates can't be used.
    """
    try:
        require_regular(authority)
        certificates = x509.load_pem_x509_certificates(authority.read_bytes())
    except (OSError, ValueError) as error:
        raise TargetError(
            f"The certificates of the time-stamping authority in {authority} can't be used",
            remedy="give a PEM file with the authority's root, and the certificates below it where it sends none",
        ) from error
    builder = VerifierBuilder()
    for certificate in certificates:
        if certificate.issuer == certificate.subject:
            builder = builder.add_root_certificate(certificate)
        else:
            builder = builder.add_intermediate_certificate(certificate)
    try:
        builder.build().verify_message(decode_timestamp_response(stamp), data)
    except (VerificationError, ValueError) as error:
        return str(error) or type(error).__name__
    return ""
