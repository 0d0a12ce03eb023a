"""Content and soundness of one restored database, read side by side.

The content's queries fill the processors that the check of the longest index leaves idle.

The content's snapshot is taken first, so that the extension which the checks install for a while is not part of it.
"""

from concurrent.futures import ThreadPoolExecutor

from smos.postgres.content import DatabaseContent
from smos.postgres.fingerprint import read_content
from smos.postgres.hashing import HashMode
from smos.postgres.integrity import check_integrity
from smos.postgres.session import Connect, snapshot_session
from smos.postgres.slots import Slots
from smos.verdict import Problem


def read_and_check(
    connect: Connect,
    conninfo: str,
    *,
    jobs: int = 2,
    mode: HashMode | str = HashMode.FAST,
) -> tuple[DatabaseContent, tuple[Problem, ...]]:
    """Return what `read_content` and `check_integrity` return, in less time than one after the other.

    connect: a session that may read everything (not a superuser: reading a row may call what a dump brought).
    conninfo: superuser of the sandbox, for the checks. jobs: queries that run at the same time.
    Raises psycopg.Error when the database can't be read.
    """
    with snapshot_session(connect, None) as holder, ThreadPoolExecutor(1) as pool:
        row = holder.execute("SELECT pg_export_snapshot()").fetchone()
        slots = Slots(jobs)
        checks = pool.submit(check_integrity, conninfo, jobs=jobs, slots=slots)
        content = read_content(
            connect, snapshot=str(row[0]) if row else None, jobs=jobs, mode=mode, slots=slots
        )
        return content, checks.result()
