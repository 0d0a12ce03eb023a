"""Why a recovering server ended, read from its log: a code, and its own words. A pure function."""

_REASONS = (
    ("sandbox-short", "could not create shared memory segment"),
    ("sandbox-short", "could not map anonymous shared memory"),
    ("sandbox-short", "could not create semaphores"),
    ("sandbox-short", "No space left on device"),
    ("target-not-reached", "recovery ended before configured recovery target was reached"),
    ("before-consistency", "requested recovery stop point is before consistent recovery point"),
    ("log-too-short", "WAL ends before end of online backup"),
    ("log-too-short", "WAL ends before consistent recovery point"),
    ("timeline-not-ours", "is not a child of this server's history"),
    ("log-foreign", "WAL file is from different database system"),
    ("log-missing", "could not locate required checkpoint record"),
    ("log-missing", "could not find redo location"),
    ("log-missing", "could not locate a valid checkpoint record"),
    ("log-torn", "has wrong size"),
)


def reason_in(log: str, message: str) -> tuple[str, str]:
    """Return a code and the server's own words for why it ended."""
    lines = [
        line
        for line in log.splitlines()
        if ("FATAL:" in line or "PANIC:" in line)
        and "the database system is" not in line  # said to our own probes
    ]
    text = "; ".join(
        dict.fromkeys(line.partition("FATAL:")[2] or line.partition("PANIC:")[2] for line in lines[-3:])
    )
    for code, words in _REASONS:
        if words in log:
            return code, (text or words).strip()[:300]
    return "server-ended", (text or message).strip()[:300]
