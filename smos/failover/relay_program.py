"""The program of a relay: takes connections on one Unix socket and passes all bytes to another, both ways.

Started by smos/failover/relay.py with Python's standard library only. Frozen (SIGSTOP) it is a black hole: connections
stay open, new ones are taken by the kernel, and nothing passes. Killed it is a cable that was pulled.
Arguments: the socket to listen on, the socket to pass to.
"""

import contextlib
import selectors
import socket
import sys
from pathlib import Path

CHUNK = 1 << 16
BACKLOG = 128
HIGH_WATER = 1 << 20
"""Bytes that wait for a slow side before the other is no longer read."""


class Side:
    """One end of a connection. waiting: bytes that are to be sent to it."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.waiting = bytearray()
        self.ended = False
        self.other: Side = self


class Relay:
    """One listening socket and its connections."""

    def __init__(self, listen: str, upstream: str) -> None:
        self._upstream = upstream
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        Path(listen).unlink(missing_ok=True)
        self._listener.bind(listen)
        Path(listen).chmod(0o777)  # who may enter the directory may connect: it is the service user's (0700)
        self._listener.listen(BACKLOG)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)

    def serve(self) -> None:
        """Pass bytes until the process is ended."""
        while True:
            for key, mask in self._selector.select():
                if key.data is None:
                    self._accept()
                    continue
                side: Side = key.data
                if mask & selectors.EVENT_WRITE:
                    self._flush(side)
                if mask & selectors.EVENT_READ and not side.ended:
                    self._read(side)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            near, _ = self._listener.accept()
            far = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                far.connect(self._upstream)
            except OSError:  # nobody is there: the caller sees a connection that is closed at once
                near.close()
                far.close()
                return
            one, two = Side(near), Side(far)
            one.other, two.other = two, one
            for side in (one, two):
                side.connection.setblocking(False)
                self._selector.register(side.connection, selectors.EVENT_READ, side)

    def _read(self, side: Side) -> None:
        try:
            data = side.connection.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            side.ended = True
            if not side.other.waiting:
                self._close(side)
            return
        side.other.waiting += data
        self._flush(side.other)

    def _flush(self, side: Side) -> None:
        if side.waiting:
            try:
                sent = side.connection.send(side.waiting)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._close(side)
                return
            del side.waiting[:sent]
        if side.other.ended and not side.waiting:
            self._close(side)
            return
        self._watch(side)
        self._watch(side.other)

    def _watch(self, side: Side) -> None:
        wanted = 0
        if not side.ended and len(side.other.waiting) < HIGH_WATER:
            wanted |= selectors.EVENT_READ
        if side.waiting:
            wanted |= selectors.EVENT_WRITE
        known = self._selector.get_map().get(side.connection)
        if wanted and known is None:
            self._selector.register(side.connection, wanted, side)
        elif wanted and known is not None and known.events != wanted:
            self._selector.modify(side.connection, wanted, side)
        elif not wanted and known is not None:
            self._selector.unregister(side.connection)

    def _close(self, side: Side) -> None:
        for one in (side, side.other):
            if one.connection.fileno() >= 0:
                if one.connection in self._selector.get_map():
                    self._selector.unregister(one.connection)
                one.connection.close()
            one.ended = True
            one.waiting.clear()


if __name__ == "__main__":
    Relay(sys.argv[1], sys.argv[2]).serve()
