"""Files appear whole, also when several processes write the same one at once."""

import subprocess
import sys
from pathlib import Path

from smos.evidence.files import write_atomic

PROGRAM = """
import sys
from pathlib import Path
from smos.evidence.files import write_atomic
for number in range(200):
    write_atomic(Path(sys.argv[1]), sys.argv[2].encode() * 1000)
"""


def test_processes_that_write_the_same_file_at_once_do_not_break_each_other(tmp_path: Path) -> None:
    place = tmp_path / "shared"
    writers = [
        subprocess.Popen([sys.executable, "-c", PROGRAM, str(place), word], stderr=subprocess.PIPE)
        for word in "abcd"
    ]
    errors = [writer.communicate(timeout=120)[1].decode() for writer in writers]
    assert errors == [""] * 4
    assert place.read_bytes() in [word.encode() * 1000 for word in "abcd"]
    assert list(tmp_path.iterdir()) == [place]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    place = tmp_path / "folder"
    (place / "full").mkdir(parents=True)
    try:
        write_atomic(place, b"x")
    except OSError:
        pass
    else:
        raise AssertionError
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
