"""Start the front: the one argument is a JSON file with `path`, `port`, `user` and `password`."""

import json
import signal
import sys
import threading
from pathlib import Path

from .engine import Engine
from .server import Access, Front


def main(config: Path) -> None:
    """Serve until SIGTERM."""
    given = json.loads(config.read_text(encoding="utf-8"))
    engine = Engine(given["path"])
    front = Front(given["port"], engine, Access(user=given["user"], password=given["password"]))

    def end(_number: int, _frame: object) -> None:
        threading.Thread(target=front.shutdown).start()  # shutdown waits for the loop, which this interrupts

    signal.signal(signal.SIGTERM, end)
    with front:
        front.serve_forever(poll_interval=0.2)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
