"""Files that a database names exist in the restored volume, looked for without ever leaving it."""

import hashlib
from pathlib import Path

import pytest

from smos.backup.volumes import check_references


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a restored volume beside a file that no rule may reach."""
    (tmp_path / "outside").write_text("secret")
    root = tmp_path / "vol"
    (root / "store" / "ab").mkdir(parents=True)
    (root / "store" / "ab" / "abcdef").write_text("x")
    (root / "store" / "ñ\n").write_text("x")
    (root / "store" / "latest").symlink_to("ab/abcdef")
    (root / "store" / "folder").symlink_to("ab")
    (root / "store" / "loop").symlink_to("loop")
    (root / "store" / "out").symlink_to("../../outside")
    (root / "store" / "absolute").symlink_to(str(tmp_path / "outside"))
    (root / "store" / "up").symlink_to("../store/ab/./abcdef")
    return root


def check(root: Path, *names: str, prefix: str = "store") -> tuple[int, int, int]:
    facts = check_references(root, names, rule="files", volume="vol", prefix=prefix)
    assert facts.unreadable is None
    return facts.checked, facts.missing, facts.refused


def test_files_that_are_there_are_found_also_through_links_inside(root: Path) -> None:
    assert check(root, "ab/abcdef", "ñ\n", "latest", "folder/abcdef", "up", "./ab//abcdef") == (6, 0, 0)
    assert check(root, "store/ab/abcdef", prefix="") == (1, 0, 0)


def test_what_is_missing_or_no_file_is_counted(root: Path) -> None:
    names = ("ab/other", "none/abcdef", "ab", "latest/below", "loop", "n" * 300)
    assert check(root, *names) == (6, 6, 0)


def test_a_link_that_leaves_the_volume_finds_nothing(root: Path) -> None:
    assert check(root, "out", "absolute") == (2, 2, 0)


def test_names_that_leave_the_volume_are_refused(root: Path) -> None:
    outside = str(root.parent / "outside")
    assert check(root, "../../outside", "../store/ab/abcdef", outside, "", ".", "a\0b", "\ud800") == (7, 0, 7)


def test_no_name_is_kept_only_the_beginning_of_its_digest(root: Path) -> None:
    name = "contrato de Juan Pérez.pdf"
    facts = check_references(root, [name] * 30, rule="files", volume="vol", prefix="store")
    assert "Juan" not in repr(facts)
    assert facts.examples == (hashlib.sha256(name.encode()).hexdigest()[:12],) * 10
    assert (facts.checked, facts.missing) == (30, 30)


def test_a_volume_that_is_not_there_or_a_prefix_that_leaves_it_is_not_checked(root: Path) -> None:
    gone = check_references(root / "never", ["a"], rule="files", volume="vol")
    assert (gone.unreadable is not None, gone.checked) == (True, 0)
    bad = check_references(root, ["a"], rule="files", volume="vol", prefix="../outside")
    assert bad.unreadable is not None
