"""Demo data of any size: the same numbers give the same bytes, the count is exact, and the clean-up takes them back."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smos.demo.chile import check_digit, is_valid_rut, rut
from smos.demo.cleanup import clean_up
from smos.demo.generate import SPREAD_DAYS, counts, generate, lines
from smos.demo.schema import TABLES
from smos.demo.stack import DemoDatabase, DemoStack
from smos.errors import SmosError
from smos.provision.owner import Owner
from tests._unhurried import UNHURRIED

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def stack() -> Iterator[DemoStack]:
    with Owner("test-generate") as owner:
        yield DemoStack(owner)


@pytest.fixture
def database(stack: DemoStack) -> Iterator[DemoDatabase]:
    with stack.clone() as found:
        yield found


@UNHURRIED
@given(st.integers(1, 5000))
def test_the_rows_of_a_tenant_add_up(rows: int) -> None:
    much = counts(rows)
    assert sum(much.values()) == rows
    assert min(much.values()) >= 0
    assert much["users"] >= 1
    assert not much["order_lines"] or (much["orders"] and much["products"])
    assert not much["messages"] or much["conversations"]


def test_the_same_numbers_give_the_same_bytes() -> None:
    def everything(seed: int) -> str:
        return "".join(line for table in TABLES for line in lines(table, 7, 900, NOW, seed))

    assert everything(1) == everything(1)
    assert everything(1) != everything(2)


def test_texts_need_no_escaping() -> None:
    for table in TABLES:
        for line in lines(table, 3, 400, NOW, 0):
            assert "\\" not in line
            assert line.count("\n") == 1


@pytest.mark.parametrize(("tenants", "rows"), [(1, 2), (3, 7), (5, 61), (20, 20_003)])
def test_exactly_so_many_rows_are_written_and_every_constraint_holds(
    database: DemoDatabase, tenants: int, rows: int
) -> None:
    with database.connect() as connection:
        made = generate(connection, tenants=tenants, rows=rows, now=NOW, seed=3)
        found = {
            t: connection.execute(
                f"SELECT count(*) FROM demo.{t} WHERE origin = 'generated'".encode()
            ).fetchone()[0]
            for t in TABLES
        }
    assert made.total == rows
    assert found == made.rows
    assert found["tenants"] == tenants


def test_two_seed_numbers_live_side_by_side_and_one_twice_is_refused(database: DemoDatabase) -> None:
    with database.connect() as connection:
        generate(connection, tenants=2, rows=100, now=NOW, seed=1)
        generate(connection, tenants=2, rows=100, now=NOW, seed=2)
        with pytest.raises(SmosError, match="are there already"):
            generate(connection, tenants=2, rows=100, now=NOW, seed=1)
        assert connection.execute("SELECT count(*) FROM demo.tenants").fetchone() == (5,)


def test_a_role_under_row_security_is_told_why_it_can_not(database: DemoDatabase) -> None:
    with (
        database.connect("demo_seeder") as connection,
        pytest.raises(SmosError, match="COPY FROM is refused"),
    ):
        generate(connection, tenants=1, rows=10, now=NOW)


@pytest.mark.parametrize(("tenants", "rows"), [(0, 10), (5, 9), (1, 1)])
def test_impossible_numbers_are_refused(database: DemoDatabase, tenants: int, rows: int) -> None:
    with database.connect() as connection, pytest.raises(SmosError, match="can't be generated"):
        generate(connection, tenants=tenants, rows=rows, now=NOW)


def test_the_cleanup_takes_half_now_and_all_of_it_a_fortnight_later(database: DemoDatabase) -> None:
    with database.connect() as connection:
        made = generate(connection, tenants=4, rows=4000, now=NOW)
    with database.connect("demo_maintenance") as role:
        first = clean_up(role, now=NOW)
        assert first.finished
        assert 0.3 * made.total < first.rows < 0.7 * made.total
        last = clean_up(role, now=NOW + timedelta(days=SPREAD_DAYS + 8), batch=77)
        assert first.rows + last.rows == made.total
    with database.connect() as connection:
        assert connection.execute("SELECT count(*) FROM demo.products").fetchone() == (15,)


def test_a_moment_without_a_time_zone_is_refused(database: DemoDatabase) -> None:
    with database.connect("demo_maintenance") as role, pytest.raises(ValueError, match="time zone"):
        clean_up(role, now=datetime(2026, 1, 1))  # noqa: DTZ001


@UNHURRIED
@given(st.integers(100_000, 99_999_999))
def test_every_rut_that_is_made_is_valid_and_every_other_digit_is_not(number: int) -> None:
    text = rut(number)
    assert is_valid_rut(text)
    others = [digit for digit in "0123456789K" if digit != check_digit(number)]
    assert not any(is_valid_rut(f"{number}-{digit}") for digit in others)
