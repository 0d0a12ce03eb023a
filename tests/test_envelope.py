"""The envelope: what age and the keyed digest refuse, and that nothing of a key is ever shown."""

import base64
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyrage
import pytest

from smos.backup.envelope import (
    KEY_BYTES,
    DataKey,
    Opening,
    Sealed,
    is_sealed,
    new_identity,
    parse_identity,
    parse_recipient,
    seal,
)
from smos.backup.streams import StreamFault
from smos.errors import BackupError
from smos.faults.dr.encryption import CHUNK_BYTES, payload_start

SET, NAME = "smos-20261123_020000", "volumes/x.tar.zst.age"
KEY = DataKey(bytes(range(KEY_BYTES)))


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes, Sealed]:
    """Plaintext of five chunks and a bit, its age file, and what is known of both."""
    folder = tmp_path_factory.mktemp("sealed")
    plain = os.urandom(5 * 65536 + 100)
    (folder / "plain").write_bytes(plain)
    facts = seal(folder / "plain", folder / "x.age", KEY.recipient, KEY.digest(SET, NAME))
    return plain, (folder / "x.age").read_bytes(), facts


def opening(
    facts: Sealed, *, key: DataKey = KEY, set_id: str = SET, name: str = NAME, copy: Path | None = None
) -> Opening:
    return Opening(
        identity=key.identity,
        digest=key.digest(set_id, name),
        expected_digest=facts.plain_digest,
        expected_bytes=facts.plain_bytes,
        copy=copy,
    )


def blocks(data: bytes, size: int = 100_000) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def fault_of(one: Opening, data: bytes) -> str:
    with pytest.raises(StreamFault) as caught:
        for _ in one.plain(blocks(data)):
            pass
    assert not one.opened
    return caught.value.code


def test_what_was_sealed_opens_to_the_same_bytes_and_leaves_a_private_copy(
    sealed: tuple[bytes, bytes, Sealed], tmp_path: Path
) -> None:
    plain, data, facts = sealed
    one = opening(facts, copy=tmp_path / "deep" / "copy")
    assert b"".join(one.plain(blocks(data))) == plain
    assert one.opened
    assert (tmp_path / "deep" / "copy").read_bytes() == plain
    assert (tmp_path / "deep" / "copy").stat().st_mode & 0o777 == 0o600
    assert is_sealed(data)
    assert facts.bytes == len(data)


def test_it_is_an_age_file_that_the_library_alone_opens(sealed: tuple[bytes, bytes, Sealed]) -> None:
    plain, data, _ = sealed
    assert pyrage.decrypt(data, [KEY.identity]) == plain


def cut_at_chunk(data: bytes) -> bytes:
    return data[: payload_start(data) + 3 * CHUNK_BYTES]


def swap_chunks(data: bytes) -> bytes:
    at = payload_start(data)
    parts = [data[at + n * CHUNK_BYTES : at + (n + 1) * CHUNK_BYTES] for n in range(2)]
    return data[:at] + parts[1] + parts[0] + data[at + 2 * CHUNK_BYTES :]


def repeat_chunk(data: bytes) -> bytes:
    at = payload_start(data) + CHUNK_BYTES
    return data[:at] + data[at - CHUNK_BYTES : at] + data[at:]


def drop_chunk(data: bytes) -> bytes:
    at = payload_start(data)
    return data[:at] + data[at + CHUNK_BYTES :]


def flip(data: bytes) -> bytes:
    return data[:-20] + bytes([data[-20] ^ 1]) + data[-19:]


@pytest.mark.parametrize(
    "change",
    [
        cut_at_chunk,
        swap_chunks,
        repeat_chunk,
        drop_chunk,
        flip,
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data + data,
        lambda data: data[: payload_start(data)],
        lambda _data: b"",
        lambda _data: b"plain text",
    ],
    ids=[
        "cut",
        "swapped",
        "repeated",
        "dropped",
        "flipped",
        "short",
        "long",
        "twice",
        "header",
        "empty",
        "plain",
    ],
)
def test_a_changed_file_is_refused_and_leaves_no_copy(
    sealed: tuple[bytes, bytes, Sealed], tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    _, data, facts = sealed
    one = opening(facts, copy=tmp_path / "copy")
    assert fault_of(one, change(data)) == "decryption-failed"
    assert not (tmp_path / "copy").exists()


def test_another_key_another_name_and_another_set_are_refused(sealed: tuple[bytes, bytes, Sealed]) -> None:
    _, data, facts = sealed
    assert fault_of(opening(facts, key=DataKey(os.urandom(KEY_BYTES))), data) == "decryption-failed"
    assert fault_of(opening(facts, name="volumes/y.tar.zst.age"), data) == "plaintext-differs"
    assert fault_of(opening(facts, set_id="smos-20261122_020000"), data) == "plaintext-differs"


def test_the_boundary_between_set_and_name_can_not_be_moved() -> None:
    assert KEY.digest("ab", "c").hexdigest() != KEY.digest("a", "bc").hexdigest()


def test_who_stops_reading_leaves_no_thread_and_no_copy(
    sealed: tuple[bytes, bytes, Sealed], tmp_path: Path
) -> None:
    import threading

    _, data, facts = sealed
    before = set(threading.enumerate())  # one of somebody else's may end meanwhile
    pieces = opening(facts, copy=tmp_path / "copy").plain(blocks(data * 20, 4096))
    assert next(pieces)
    pieces.close()  # type: ignore[attr-defined]  # a generator
    assert set(threading.enumerate()) <= before
    assert not (tmp_path / "copy").exists()


def test_what_the_source_raises_comes_through(sealed: tuple[bytes, bytes, Sealed]) -> None:
    _, data, facts = sealed

    def broken() -> object:
        yield data[:100_000]
        raise PermissionError(13, "the disk says no")

    with pytest.raises(PermissionError):
        list(opening(facts).plain(broken()))  # type: ignore[arg-type]


def test_a_full_sandbox_is_a_gap_of_the_sandbox() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    from smos.backup.envelope import _Copy

    copy = _Copy(None)
    with Path("/dev/full").open("wb", buffering=0) as full:
        copy._file = full
        with pytest.raises(StreamFault) as caught:
            copy.write(b"x" * 100_000)
    assert caught.value.code == "sandbox-full"


def test_no_repr_and_no_error_shows_a_key() -> None:
    secret = os.urandom(KEY_BYTES)
    key = DataKey(secret)
    shown = repr(key) + str(key)
    assert str(key.identity) not in shown
    assert secret.hex() not in shown
    with pytest.raises((TypeError, pickle.PicklingError)):
        pickle.dumps(key)
    for wrong in ("no base64!", base64.b64encode(b"too short").decode()):
        with pytest.raises(BackupError) as caught:
            DataKey.from_base64(wrong)
        assert wrong not in str(caught.value)
    identity = new_identity()
    with pytest.raises(BackupError) as wrong_half:
        parse_recipient(identity)
    assert identity not in str(wrong_half.value)


def test_a_data_key_spells_the_identity_that_age_reads() -> None:
    for secret in (bytes(KEY_BYTES - 32) + bytes(32), b"\xff" * KEY_BYTES, os.urandom(KEY_BYTES)):
        text = str(DataKey(secret).identity)
        assert text.startswith("AGE-SECRET-KEY-1")
        assert parse_identity(text).to_public() is not None
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    from smos.backup.envelope import _BECH32

    # The public half, computed by another library, is what age says it is.
    secret = os.urandom(KEY_BYTES)
    public = X25519PrivateKey.from_private_bytes(secret[:32]).public_key().public_bytes_raw()
    digits = [_BECH32.index(char) for char in str(DataKey(secret).recipient).removeprefix("age1")[:-6]]
    number = sum(digit << 5 * place for place, digit in enumerate(reversed(digits))) >> 4
    assert number.to_bytes(32, "big") == public


def test_memory_stays_constant_whatever_the_size(tmp_path: Path) -> None:
    script = """
import sys, resource
from pathlib import Path
from smos.backup.envelope import DataKey, Opening, seal
folder, key = Path(sys.argv[1]), DataKey(bytes(64))
with (folder / "plain").open("wb") as file:
    file.truncate(200 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
facts = seal(folder / "plain", folder / "x.age", key.recipient, key.digest("s", "n"))
one = Opening(identity=key.identity, digest=key.digest("s", "n"), expected_digest=facts.plain_digest,
              expected_bytes=facts.plain_bytes)
with (folder / "x.age").open("rb") as file:
    for _ in one.plain(iter(lambda: file.read(1 << 18), b"")):
        pass
assert one.opened
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 30 << 10, "KiB more than before"
