"""Demo data of any size, for load and for drills: deterministic, streamed by COPY in constant memory.

One stream per table, parents first. Every value is computed from (seed, now, tenant, row), so the same numbers give the
same bytes on every machine. COPY FROM is refused to roles under row security, so this wants a superuser of the demo's
own server. Constraints and foreign keys stay on. The rows have origin `generated`: they expire like a visitor's.
"""

import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import psycopg
from psycopg import sql

from smos.demo.chile import COMUNAS, FAMILY, GIVEN, REGIONS, rut
from smos.errors import SmosError

MOST_TENANTS = 1 << 24
MOST_ROWS = 1 << 40
SPREAD_DAYS = 14
"""The rows are spread evenly over this many days before `now`: half of them are older than the clean-up's week."""
CHUNK_BYTES = 1 << 18
RUTS, FIRST_RUT = 16_000_000, 60_000_000
_MIX = 2_654_435_761  # Knuth's multiplicative hash: spreads consecutive numbers
_MASK = 0xFFFFFFFF

_CATEGORIES = ("Electrónica", "Hogar", "Moda", "Deportes", "Gaming")
_THINGS = ("Parlante", "Tetera", "Poncho", "Balón", "Teclado", "Lámpara", "Mochila", "Audífonos", "Frazada")
_STATES = ("pendiente", "pagado", "despachado", "entregado", "anulado")
_CHANNELS = ("whatsapp", "web", "instagram")
_KINDS = ("visita", "vista_producto", "carrito", "pago", "compra", "derivacion")
_BODIES = (
    "Hola, ¿dónde está mi pedido?",
    "¡Hola! Sale hoy de la bodega y llega mañana.",
    "¿Tienen despacho a Ñuñoa?",
    "Sí, en 24 horas hábiles.",
)
_COLUMNS = {
    "tenants": "id name rut region origin created_at",
    "users": "tenant_id id email full_name rut phone comuna origin created_at",
    "products": "tenant_id id sku name category price stock origin created_at",
    "orders": "tenant_id user_id id number state address comuna origin created_at",
    "order_lines": "tenant_id user_id order_id line product_id quantity unit_price origin created_at",
    "conversations": "tenant_id user_id id channel subject origin created_at",
    "messages": "tenant_id user_id conversation_id position author body origin created_at",
    "analytics_events": "tenant_id user_id id kind properties origin created_at",
}
_SHARES = {
    "users": 0.025,
    "products": 0.05,
    "orders": 0.15,
    "order_lines": 0.30,
    "conversations": 0.05,
    "messages": 0.25,
}
"""Of a tenant's rows; what is left are analytics events."""


@dataclass(frozen=True, slots=True)
class Generated:
    """What was written. rows: by table. seconds: from the first COPY to the commit."""

    rows: dict[str, int]
    seconds: float

    @property
    def total(self) -> int:
        """All rows."""
        return sum(self.rows.values())


def counts(rows: int) -> dict[str, int]:
    """Return how many rows each table gets of one tenant's `rows` (at least 1: every tenant has a user)."""
    found = {table: int(rows * share) for table, share in _SHARES.items()}
    found["users"] = max(1, found["users"])
    if found["orders"] == 0 or found["products"] == 0:
        found["order_lines"] = 0
    if found["conversations"] == 0:
        found["messages"] = 0
    found["analytics_events"] = rows - sum(found.values())
    if found["analytics_events"] < 0:  # a tenant of one row: its user
        return {**dict.fromkeys(found, 0), "users": rows}
    return found


def generate(
    connection: "psycopg.Connection[Any]",
    *,
    tenants: int,
    rows: int,
    now: datetime,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _text: None,
) -> Generated:
    """Write `rows` rows over all tables, those of the `tenants` tenants included, in one transaction.

    Raises SmosError for numbers that can't be, or where this seed's tenants are there already; psycopg.Error.
    """
    if not (1 <= tenants <= MOST_TENANTS and 2 * tenants <= rows <= MOST_ROWS):
        raise SmosError(
            f"{tenants} tenants and {rows} rows can't be generated",
            remedy=f"at least 1 and at most {MOST_TENANTS} tenants, and two rows or more for each",
        )
    if now.tzinfo is None:
        raise ValueError("the moment needs a time zone")
    written: dict[str, int] = {}
    started = time.monotonic()
    try:
        with connection.transaction(), connection.cursor() as cursor:
            for table, columns in _COLUMNS.items():
                written[table] = _copy(cursor, table, columns.split(), lines(table, tenants, rows, now, seed))
                progress(f"{table}: {written[table]}")
    except psycopg.errors.UniqueViolation as error:
        raise SmosError(
            f"The tenants of seed {seed} are there already",
            remedy="use another --seed-number, or remove them first: smos demo cleanup",
        ) from error
    except psycopg.errors.FeatureNotSupported as error:
        raise SmosError(
            "COPY FROM is refused to a role under row security",
            remedy="connect as a superuser of the demo's own server",
        ) from error
    return Generated(written, time.monotonic() - started)


def lines(table: str, tenants: int, rows: int, now: datetime, seed: int) -> Iterator[str]:
    """Yield the rows of one table, in COPY's text format."""
    stream = _Stream(now.astimezone(UTC), seed)
    each, more = divmod(rows - tenants, tenants)
    make = getattr(stream, table)
    for tenant in range(tenants):
        if table == "tenants":
            yield from make(tenant)
        else:
            yield from make(tenant, counts(each + (tenant < more)))


class _Stream:
    """Writes each table's rows. One method per table, so that a table can be streamed without the others."""

    def __init__(self, now: datetime, seed: int) -> None:
        self._seed = zlib.crc32(str(seed).encode())
        self._stamps = _stamps(now - timedelta(days=SPREAD_DAYS))
        self._oldest = self._stamps[0]

    def _id(self, kind: int, tenant: int, row: int) -> str:
        return f"{self._seed:08x}-{kind:04x}-4{tenant >> 12:03x}-8{tenant & 0xFFF:03x}-{row:012x}"

    def _number(self, tenant: int, row: int) -> int:
        return ((row + 1) * _MIX ^ (tenant + 1) * 40503 ^ self._seed) & _MASK

    def _when(self, mixed: int) -> str:
        return self._stamps[mixed % len(self._stamps)]

    def tenants(self, tenant: int) -> Iterator[str]:
        number = FIRST_RUT + (self._seed + tenant) % RUTS
        region = REGIONS[tenant % len(REGIONS)]
        yield f"{self._id(1, tenant, 0)}\tTienda {tenant}\t{rut(number)}\t{region}\tgenerated\t{self._oldest}\n"

    def users(self, tenant: int, much: dict[str, int]) -> Iterator[str]:
        mine = self._id(1, tenant, 0)
        for row in range(much["users"]):
            mixed = self._number(tenant, row)
            name = f"{GIVEN[mixed % len(GIVEN)]} {FAMILY[(mixed >> 8) % len(FAMILY)]}"
            comuna = COMUNAS[(mixed >> 16) % len(COMUNAS)]
            yield (
                f"{mine}\t{self._id(2, tenant, row)}\tpersona{row}@tienda{tenant}.ejemplo.cl\t{name}"
                f"\t{rut(5_000_000 + mixed % 20_000_000)}\t+569{mixed % 100_000_000:08d}\t{comuna}"
                f"\tgenerated\t{self._oldest}\n"
            )

    def products(self, tenant: int, much: dict[str, int]) -> Iterator[str]:
        mine = self._id(1, tenant, 0)
        for row in range(much["products"]):
            mixed = self._number(tenant, row)
            name = f"{_THINGS[mixed % len(_THINGS)]} {COMUNAS[(mixed >> 8) % len(COMUNAS)]}"
            yield (
                f"{mine}\t{self._id(3, tenant, row)}\tGEN-{row:06d}\t{name}\t{_CATEGORIES[row % 5]}"
                f"\t{self._price(tenant, row)}\t{mixed % 100}\tgenerated\t{self._oldest}\n"
            )

    def _price(self, tenant: int, product: int) -> int:
        return 990 + 1000 * (self._number(tenant, product) % 300)

    def orders(self, tenant: int, much: dict[str, int]) -> Iterator[str]:
        mine, users = self._id(1, tenant, 0), much["users"]
        for row in range(much["orders"]):
            mixed = self._number(tenant, row)
            yield (
                f"{mine}\t{self._id(2, tenant, row % users)}\t{self._id(4, tenant, row)}\tGEN-{row:08d}"
                f"\t{_STATES[mixed % 5]}\tPasaje {mixed % 900 + 1}\t{COMUNAS[mixed % len(COMUNAS)]}"
                f"\tgenerated\t{self._when(mixed)}\n"
            )

    def order_lines(self, tenant: int, much: dict[str, int]) -> Iterator[str]:
        mine, users, orders, products = (
            self._id(1, tenant, 0),
            much["users"],
            much["orders"],
            much["products"],
        )
        for row in range(much["order_lines"]):
            order, product = row % orders, self._number(tenant, row) % products
            yield (
                f"{mine}\t{self._id(2, tenant, order % users)}\t{self._id(4, tenant, order)}\t{row // orders + 1}"
                f"\t{self._id(3, tenant, product)}\t{row % 4 + 1}\t{self._price(tenant, product)}"
                f"\tgenerated\t{self._when(self._number(tenant, order))}\n"
            )

    def conversations(self, tenant: int, much: dict[str, int]) -> Iterator[str]:
        mine, users = self._id(1, tenant, 0), much["users"]
        for row in range(much["conversations"]):
            mixed = self._number(tenant, row)
            yield (
                f"{mine}\t{self._id(2, tenant, row % users)}\t{self._id(5, tenant, row)}\t{_CHANNELS[mixed % 3]}"
                f"\tConsulta {row}\tgenerated\t{self._when(mixed)}\n"
            )

    def messages(self, tenant: int, much: dict[str, int]) -> Iterator[str]:
        mine, users, conversations = self._id(1, tenant, 0), much["users"], much["conversations"]
        for row in range(much["messages"]):
            talk = row % conversations
            yield (
                f"{mine}\t{self._id(2, tenant, talk % users)}\t{self._id(5, tenant, talk)}"
                f"\t{row // conversations + 1}\t{('cliente', 'bot')[row // conversations % 2]}"
                f"\t{_BODIES[row // conversations % 4]}\tgenerated\t{self._when(self._number(tenant, talk))}\n"
            )

    def analytics_events(self, tenant: int, much: dict[str, int]) -> Iterator[str]:
        mine, users = self._id(1, tenant, 0), much["users"]
        for row in range(much["analytics_events"]):
            mixed = self._number(tenant, row)
            yield (
                f"{mine}\t{self._id(2, tenant, row % users)}\t{self._id(6, tenant, row)}\t{_KINDS[mixed % 6]}"
                f'\t{{"paso": {row}}}\tgenerated\t{self._when(mixed)}\n'
            )


@lru_cache(maxsize=1)
def _stamps(start: datetime) -> tuple[str, ...]:
    """Return one stamp per minute of the spread, for all tables: to format a date costs more than a row."""
    return tuple(_stamp(start + timedelta(minutes=minute)) for minute in range(SPREAD_DAYS * 24 * 60))


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S+00")


def _copy(cursor: "psycopg.Cursor[Any]", table: str, columns: list[str], text: Iterable[str]) -> int:
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier("demo", table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    number, size, chunk = 0, 0, []
    cursor.execute("SET LOCAL client_encoding = 'UTF8'")
    with cursor.copy(statement) as copy:
        for line in text:
            chunk.append(line)
            number += 1
            size += len(line)
            if size >= CHUNK_BYTES:
                copy.write("".join(chunk).encode())
                size, chunk = 0, []
        copy.write("".join(chunk).encode())
    return number
