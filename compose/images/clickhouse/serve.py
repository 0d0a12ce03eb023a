"""Serves ClickHouse's engine on port 8123 with the user, password and database of the environment, until SIGTERM."""

import os
import signal
import sys
import threading

from clickhousefront.engine import Engine, Statement
from clickhousefront.server import Access, Front

password = os.environ.get("CLICKHOUSE_PASSWORD", "")
if not password:
    sys.exit("CLICKHOUSE_PASSWORD is not set: a server without a password is started for nobody")
engine = Engine("/var/lib/clickhouse")
database = os.environ.get("CLICKHOUSE_DB", "default")
engine.run(Statement(text=f"CREATE DATABASE IF NOT EXISTS `{database.replace('`', '')}`"))
access = Access(user=os.environ.get("CLICKHOUSE_USER", "default"), password=password)
front = Front(8123, engine, access, address="0.0.0.0")  # noqa: S104  (of the container; the stack publishes on loopback)
# shutdown waits for the loop, which the signal interrupts: another thread does it.
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=front.shutdown).start())
with front:
    front.serve_forever(poll_interval=0.2)
