"""A copy of the demo that one fault may break, and the run of one check on it.

The database is a clone of its own. Roles belong to the whole server: what an injection does to them is undone
afterwards, whatever happened, by the statements that it gave.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from smos.checks.demo.cleanup import judge_batches, judge_cleanup
from smos.checks.demo.isolation import judge_boundary, judge_compose
from smos.checks.demo.n8n import judge_n8n
from smos.checks.demo.prober import judge_probes
from smos.checks.demo.rows import judge_trial
from smos.checks.demo.schema import judge_schema
from smos.checks.demo.seed import judge_reseed, judge_seed
from smos.demo.schema import text_of
from smos.demo.stack import DemoDatabase, DemoEndpoint, DemoStack
from smos.demo.verify.catalogue import read_schema
from smos.demo.verify.cleanup import clean_at_a_shifted_moment, clean_in_batches
from smos.demo.verify.compose import compose_text, read_compose
from smos.demo.verify.isolation import try_boundary
from smos.demo.verify.n8n import ask_n8n
from smos.demo.verify.pool import try_pool
from smos.demo.verify.prober import probe_variants
from smos.demo.verify.rls import try_jwt, try_oracles, try_tenants, try_users
from smos.demo.verify.seed import read_seed, seed_again
from smos.errors import SmosError, TargetError
from smos.provision.base import PostgresEndpoint
from smos.verdict import Judgement


class DemoWorkspace:
    """What an injection is given.

    compose: the text of the compose file. seed: the text of the seed that DEMO-02 runs. production: what the check
    takes for production. n8n_url: where n8n is asked. closing: what is closed when the check has run.
    """

    def __init__(self, stack: DemoStack, database: DemoDatabase) -> None:
        self.stack = stack
        self.database = database
        self.compose = compose_text()
        self.seed = text_of("seed")
        self.n8n_url: str | None = None
        self.closing: list[Callable[[], None]] = []
        self._production: PostgresEndpoint | None = None

    @property
    def production(self) -> PostgresEndpoint:
        """What stands for production."""
        return self._production or self.stack.production.endpoint

    def take_for_production(self, endpoint: PostgresEndpoint) -> None:
        """Let another server stand for production."""
        self._production = endpoint

    def sql(self, *statements: str) -> None:
        """Run statements as the superuser, in this database, each in a transaction of its own."""
        _run(self.database.connect(), statements)

    def roles(self, statement: str, undo: str) -> None:
        """Change a role or another thing of the whole server; `undo` is run when the check has."""
        self.closing.append(lambda: self.sql(undo))
        self.sql(statement)

    def in_production(self, statement: str, undo: str, *, database: str = "postgres") -> None:
        """Change the server that plays production; `undo` is run when the check has."""
        endpoint = self.stack.production.endpoint

        def run(text: str) -> None:
            _run(psycopg.connect(endpoint.conninfo(database), autocommit=True), (text,))

        self.closing.append(lambda: run(undo))
        run(statement)

    def edit_compose(self, old: str, new: str) -> None:
        """Change the compose file. Raises SmosError when it holds no such text."""
        self.compose = _replaced(self.compose, old, new)

    def edit_seed(self, old: str, new: str) -> None:
        """Change the seed that is run. Raises SmosError when it holds no such text."""
        self.seed = _replaced(self.seed, old, new)

    def edit_cleanup(self, old: str, new: str) -> None:
        """Load another clean-up. Raises SmosError when the shipped one holds no such text."""
        self.sql(_replaced(text_of("cleanup"), old, new))


@contextmanager
def workspace(stack: DemoStack) -> Iterator[DemoWorkspace]:
    """Give a copy; afterwards everything that was done to the servers is undone and the database dropped."""
    with stack.clone() as database:
        work = DemoWorkspace(stack, database)
        try:
            yield work
        finally:
            for close in reversed(work.closing):
                close()


def exercise(check_id: str, work: DemoWorkspace) -> Judgement:
    """Run the real driver and the real judge of one check on the copy. Raises TargetError for an unknown check."""
    database = work.database
    runs: dict[str, Callable[[], Judgement]] = {
        "DEMO-01": lambda: judge_seed(read_seed(database)),
        "DEMO-02": lambda: judge_reseed(seed_again(work.stack, database, work.seed)),
        "DEMO-03": lambda: judge_cleanup(clean_at_a_shifted_moment(database)),
        "DEMO-04": lambda: judge_batches(clean_in_batches(database)),
        "DEMO-05": lambda: judge_compose(read_compose(work.compose)),
        "DEMO-06": lambda: judge_boundary(
            try_boundary(DemoEndpoint(database=database, production=work.production))
        ),
        "DEMO-07": lambda: judge_trial(try_tenants(database)),
        "DEMO-08": lambda: judge_trial(try_users(database)),
        "DEMO-09": lambda: judge_trial(try_oracles(database)),
        "DEMO-10": lambda: judge_trial(try_pool(database)),
        "DEMO-11": lambda: judge_trial(try_jwt(database)),
        "DEMO-12": lambda: judge_schema(read_schema(database)),
        "DEMO-13": lambda: judge_probes(probe_variants(database)),
        "DEMO-14": lambda: judge_n8n(ask_n8n(work.n8n_url)),
    }
    if check_id not in runs:
        raise TargetError(f"{check_id} can't be exercised")
    return runs[check_id]()


def _run(connection: "psycopg.Connection[Any]", statements: "tuple[str, ...]") -> None:
    with connection:
        for statement in statements:
            connection.execute(statement.encode())


def _replaced(text: str, old: str, new: str) -> str:
    if old not in text:
        raise SmosError(f"the fault changes nothing: there is no {old!r}")
    return text.replace(old, new)
