"""Backups in a bucket, by AWS' own library: whatever speaks S3's protocol. Only lists and reads."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from smos.live.declared import S3Source
from smos.live.errors import LiveError, live_error
from smos.live.sources.base import Entry

BLOCK = 1 << 20
MISSING = frozenset({"NoSuchBucket", "NoSuchKey", "404"})
REFUSED = frozenset(
    {"AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "401"}
)


class Bucket:
    """See the module. stall_s: seconds without a byte after which a read counts as stalled."""

    def __init__(self, source: S3Source, *, stall_s: float = 60) -> None:
        self._source = source
        self.prefix = f"{source.prefix.strip('/')}/" if source.prefix.strip("/") else ""
        self.bucket = source.bucket
        self.shown = f"s3://{source.bucket}/{self.prefix}" + (
            f" at {source.endpoint}" if source.endpoint else ""
        )
        self.client = client_of(source, stall_s)

    def entries(self, *, limit: int, deadline: float) -> Iterator[Entry]:
        """Yield the objects below the prefix."""
        found = 0
        with explained(self.shown):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.prefix
            )
            for page in pages:
                for item in page.get("Contents", []):
                    path = item["Key"][len(self.prefix) :]
                    if not path or path.endswith("/"):
                        continue  # a marker of a folder, as consoles make them
                    found += 1
                    if found > limit:
                        raise live_error("listing-too-long", f"{self.shown} lists more than {limit} entries")
                    yield Entry(
                        path=path,
                        kind="f",
                        size=int(item["Size"]),
                        modified=item["LastModified"].timestamp(),
                        mark=f"{item['Size']} {item.get('ETag')} {item['LastModified'].isoformat()}",
                    )
                if time.monotonic() > deadline:
                    raise live_error("listing-too-long", f"{self.shown}: the listing did not end in time")

    @contextmanager
    def read(
        self, entry: Entry, offset: int, *, stall_s: float, deadline: float
    ) -> Iterator[Iterator[bytes]]:
        """Give the object's blocks. stall_s was given to the connection already."""
        if entry.size == 0 or offset >= entry.size:
            yield iter(())  # a range of nothing is an error of the protocol
            return
        with explained(f"{self.shown}{entry.path!a}", stall_s):
            answer = self.client.get_object(
                Bucket=self.bucket, Key=f"{self.prefix}{entry.path}", Range=f"bytes={offset}-"
            )
            body = answer["Body"]

            def blocks() -> Iterator[bytes]:
                for block in body.iter_chunks(BLOCK):
                    if time.monotonic() > deadline:
                        raise live_error("fetch-timed-out", "the time for it was over before the data were")
                    yield block

            try:
                yield blocks()
            finally:
                body.close()


def client_of(source: S3Source, stall_s: float) -> Any:
    """Return a client that sees what the target names, or else the usual chain of credentials. Raises LiveError."""
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError:
        raise live_error(
            "tool-missing", "boto3 is not installed: pip install 'smarteros-verify[s3]'"
        ) from None
    keys: dict[str, str] = {}
    if source.credentials is not None:
        from smos.vault.model import VaultError
        from smos.vault.verify.live import read_private

        try:
            keys = json.loads(read_private(source.credentials, "credentials"))
            keys = {
                f"aws_{name}": str(keys[name])
                for name in ("access_key_id", "secret_access_key", "session_token")
                if name in keys
            }
        except VaultError as error:
            raise live_error("store-refused", error.message) from None
        except (ValueError, TypeError, AttributeError):
            keys = {}
        if len(keys) < 2:
            raise live_error(
                "store-refused", f"{source.credentials} holds no access_key_id and secret_access_key"
            )
    try:
        session = boto3.Session(profile_name=source.profile, region_name=source.region)
        return session.client(
            "s3",
            endpoint_url=source.endpoint,
            verify=str(source.ca_file) if source.ca_file else None,
            config=Config(
                connect_timeout=20,
                read_timeout=max(1.0, stall_s),
                retries={"mode": "standard", "total_max_attempts": 3},
                # Others than AWS often know no trailing checksums; what is read is held against the manifest anyway.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={"addressing_style": "path"} if source.endpoint else {},
            ),
            **keys,
        )
    except (BotoCoreError, ValueError) as error:
        raise live_error("store-refused", f"s3://{source.bucket}: {type(error).__name__}: {error}") from None


@contextmanager
def explained(shown: str, stall_s: float = 60) -> Iterator[None]:
    """Turn the library's errors into ours; a message of it may quote headers, so only its code is kept."""
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        ConnectionClosedError,
        EndpointConnectionError,
        IncompleteReadError,
        NoCredentialsError,
        ReadTimeoutError,
        ResponseStreamingError,
    )

    try:
        yield
    except LiveError:
        raise
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in MISSING:
            raise live_error(
                "backup-directory-unreadable", f"{shown}: there is no such thing ({code})"
            ) from None
        if code in REFUSED:
            raise live_error("store-refused", f"{shown}: refused ({code})") from None
        raise live_error("connection-lost", f"{shown}: {code[:80]}", transient=True) from None
    except ReadTimeoutError:
        raise live_error("fetch-stalled", f"nothing came for {stall_s:g} s", transient=True) from None
    except (ConnectionClosedError, IncompleteReadError, ResponseStreamingError) as error:
        raise live_error("connection-lost", f"{shown}: {type(error).__name__}", transient=True) from None
    except EndpointConnectionError:
        raise live_error("store-unreachable", f"{shown}: it can't be connected to") from None
    except NoCredentialsError:
        raise live_error("store-refused", f"{shown}: there are no credentials here") from None
    except BotoCoreError as error:
        raise live_error("store-unreachable", f"{shown}: {type(error).__name__}") from None
