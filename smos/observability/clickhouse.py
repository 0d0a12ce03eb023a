"""A small ClickHouse client over HTTP: statements, rows, inserts. Parameters are bound by the server."""

import json
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from smos.errors import SmosError
from smos.http import trust
from smos.provision.telemetry import ClickHouseEndpoint

REQUEST_S = 120.0
"""Seconds that one statement may take: a limit against hangs."""


class ClickHouseError(SmosError):
    """ClickHouse refused a statement; `code` is its number of the error."""

    def __init__(self, message: str, *, code: int) -> None:
        super().__init__(message, remedy="see the text of ClickHouse's error above")
        self.code = code


class ClickHouse:
    """A client of one ClickHouse; a context manager. Raises ClickHouseError, httpx.TransportError."""

    def __init__(self, endpoint: ClickHouseEndpoint, *, timeout_s: float = REQUEST_S) -> None:
        self.endpoint = endpoint
        self._http = httpx.Client(
            base_url=endpoint.url,
            headers={"X-ClickHouse-User": endpoint.user, "X-ClickHouse-Key": endpoint.password},
            timeout=timeout_s,
            trust_env=False,
            verify=trust(),
        )

    def rows(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        """Return the rows of a query as dicts; `{name:Type}` in it is bound from `parameters`."""
        answer = self._send(sql, parameters, output="JSON")
        rows: list[dict[str, Any]] = answer.json()["data"]
        return rows

    def value(self, sql: str, **parameters: Any) -> Any:
        """Return the only value of the only row."""
        (row,) = self.rows(sql, **parameters)
        (value,) = row.values()
        return value

    def execute(self, sql: str, *, in_database: bool = True, **parameters: Any) -> None:
        """Carry out a statement that returns nothing. in_database: off where the database is yet to be made."""
        self._send(sql, parameters, database=self.endpoint.database if in_database else "default")

    def insert(self, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Insert rows given as dicts (JSONEachRow)."""
        data = "\n".join(json.dumps(row) for row in rows).encode()
        self._checked(
            self._http.post(
                "/",
                params={
                    "query": f"INSERT INTO {table} FORMAT JSONEachRow",
                    "database": self.endpoint.database,
                    "date_time_input_format": "best_effort",
                },
                content=data,
            )
        )

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(
        self,
        sql: str,
        parameters: Mapping[str, Any],
        *,
        output: str | None = None,
        database: str | None = None,
    ) -> httpx.Response:
        given = {f"param_{name}": _escaped(str(value)) for name, value in parameters.items()}
        given |= {
            "database": database or self.endpoint.database,
            "output_format_json_quote_64bit_integers": "0",
        }
        headers = {"X-ClickHouse-Format": output} if output else {}
        return self._checked(self._http.post("/", params=given, content=sql.encode(), headers=headers))

    @staticmethod
    def _checked(answer: httpx.Response) -> httpx.Response:
        if answer.status_code != httpx.codes.OK:
            code = answer.headers.get("X-ClickHouse-Exception-Code", "0")
            raise ClickHouseError(answer.text.strip(), code=int(code) if code.isdigit() else 0)
        return answer


def _escaped(value: str) -> str:
    """Escape a parameter as ClickHouse reads it: like a field of a tab-separated file."""
    for plain, escaped in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"), ("\0", "\\0")):
        value = value.replace(plain, escaped)
    return value
