"""Lets `pytest --backups DIR` mean what it says, and keeps DIR from configuring pytest.

pytest looks for its configuration before it knows the options of a conftest.py. `--backups /backups` (two words, and
the directory exists) then looks like a path to collect tests from: pytest would take /backups for its root, miss our
conftest.py, and obey a `pytest.ini` that lies there, which may name plugins: code. Backups are untrusted input. Written
as one word, `--backups=/backups`, it is understood. So `smarteros_verify_arguments.pth` (installed by hatch_build.py)
joins such pairs in pytest's arguments when the interpreter starts, before pytest runs.
Source: pytest's documentation, "Initialization: determining rootdir and configfile".
"""

OPTIONS = ("--target", "--backups", "--reports", "--waivers", "--signing-key", "--approver", "--lang")


def join_arguments(arguments: list[str]) -> None:
    """Write `--option VALUE` of ours as `--option=VALUE`, in place; everything else stays."""
    words = iter(arguments[:])
    joined = []
    for word in words:
        value = next(words, None) if word in OPTIONS else None
        joined.append(word if value is None else f"{word}={value}")
    arguments[:] = joined
