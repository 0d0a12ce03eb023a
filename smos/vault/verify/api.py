"""Requests to the engines, by their paths. hvac's own methods hide fields that the suite looks at."""

import base64
from dataclasses import dataclass
from typing import Any

import hvac
import requests

from smos.vault.model import REQUEST_LIMIT_S


@dataclass(frozen=True, slots=True)
class Api:
    """One client. Paths are below /v1/. Errors of hvac pass through."""

    client: hvac.Client

    def get(self, path: str, **query: Any) -> Any:
        """Return the answer of a GET."""
        return _body(self.client.adapter.get(f"/v1/{path}", params=query or None, timeout=REQUEST_LIMIT_S))

    def post(self, path: str, headers: Any = None, **body: Any) -> Any:
        """Return the answer of a POST. headers: str to str, besides the usual ones."""
        send = self.client.adapter.post
        return _body(send(f"/v1/{path}", json=body, headers=headers or {}, timeout=REQUEST_LIMIT_S))

    def delete(self, path: str) -> Any:
        """Return the answer of a DELETE."""
        return _body(self.client.adapter.delete(f"/v1/{path}", timeout=REQUEST_LIMIT_S))

    def raw_post(self, path: str, **body: Any) -> tuple[int, Any]:
        """Return status and decoded body of a POST whatever the status: some refusals carry results."""
        adapter = hvac.adapters.RawAdapter.from_adapter(self.client.adapter)
        answer = adapter.post(f"/v1/{path}", json=body, raise_exception=False, timeout=REQUEST_LIMIT_S)
        return answer.status_code, _body(answer)


@dataclass(frozen=True, slots=True)
class Transit:
    """One transit mount, seen with one client."""

    api: Api
    mount: str

    def create(self, key: str, **settings: Any) -> Any:
        """Make a key."""
        return self.api.post(f"{self.mount}/keys/{key}", **settings)

    def read(self, key: str) -> dict[str, Any]:
        """Return a key's settings and public parts."""
        data: dict[str, Any] = self.api.get(f"{self.mount}/keys/{key}")["data"]
        return data

    def configure(self, key: str, **settings: Any) -> Any:
        """Change a key's settings."""
        return self.api.post(f"{self.mount}/keys/{key}/config", **settings)

    def rotate(self, key: str) -> Any:
        """Add a version."""
        return self.api.post(f"{self.mount}/keys/{key}/rotate")

    def encrypt(self, key: str, plaintext: bytes, **more: Any) -> str:
        """Return the ciphertext."""
        return str(self.act("encrypt", key, plaintext=encoded(plaintext), **more)["ciphertext"])

    def decrypt(self, key: str, ciphertext: str, **more: Any) -> bytes:
        """Return the plaintext. Raises ValueError (binascii) for an answer that is none."""
        return base64.b64decode(
            self.act("decrypt", key, ciphertext=ciphertext, **more)["plaintext"], validate=True
        )

    def act(self, action: str, key: str, **body: Any) -> dict[str, Any]:
        """Return the data of any other action: rewrap, sign, verify, hmac, datakey/wrapped."""
        data: dict[str, Any] = self.api.post(f"{self.mount}/{action}/{key}", **body)["data"]
        return data


def encoded(data: bytes) -> str:
    """Return base64 text, as the API takes bytes."""
    return base64.b64encode(data).decode()


def _body(answer: Any) -> Any:
    """Return the decoded answer; {} for one without a body. hvac hands over 204 as the raw response."""
    if isinstance(answer, requests.Response):
        return answer.json() if answer.content else {}
    return answer
