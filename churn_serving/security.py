"""Who may use the service: API keys in a request's header, and where it may listen without any."""

from __future__ import annotations

import ipaddress
import logging
import math
import os
import time
from dataclasses import dataclass
from datetime import date
from hmac import compare_digest
from typing import TYPE_CHECKING

from churn_serving.key_file import KEY_LENGTH, KEY_PREFIX, KeyFileError, KeyRing, digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from churn_serving.key_file import KeyEntry, Scope

SETTLED_SECONDS = 2.0
"""A file written less long ago is read again: its time stamp is too coarse to tell two writes apart."""

_HOW = "send the header `Authorization: Bearer <key>` or `X-API-Key: <key>`"
_PREFIX = KEY_PREFIX.encode()
_EPOCH = date(1970, 1, 1).toordinal()

_log = logging.getLogger(__name__)


class OpenListenError(ValueError):
    """The service was to listen to a network without asking for keys."""


@dataclass(frozen=True)
class Caller:
    """Whose request it is.

    Attributes:
        name: The key's name, for logs.
        scopes: All that the key permits.
    """

    name: str
    scopes: frozenset[str]


@dataclass(frozen=True)
class Denied:
    """Why a request is refused.

    Attributes:
        status: 401 without a valid key, 403 if the key does not permit this.
        detail: For the client; holds nothing that it sent.
        challenge: Value of the answer's header `WWW-Authenticate` (RFC 6750).
    """

    status: int
    detail: str
    challenge: str


NO_KEY = Denied(401, f"an API key is needed: {_HOW}", 'Bearer realm="churn"')
MALFORMED = Denied(401, f"this is no API key of this service: {_HOW}", 'Bearer realm="churn", error="invalid_request"')
AMBIGUOUS = Denied(401, f"two headers disagree about the API key: {_HOW}", MALFORMED.challenge)
UNKNOWN = Denied(401, "this API key is unknown or was withdrawn", 'Bearer realm="churn", error="invalid_token"')
EXPIRED = Denied(401, "this API key has expired: ask for a new one", UNKNOWN.challenge)


@dataclass(frozen=True)
class _Lock:
    """An entry, ready to be compared: the digest's bytes, and the POSIX time from which it is void."""

    digest: bytes
    caller: Caller
    void_from: float


@dataclass(frozen=True)
class _Stamp:
    """What changes when a file was replaced or written."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int


class Keys:
    """The keys of a file that may change while the service runs.

    A file that is missing or broken changes nothing: the keys that were read last stay valid, and it is reported once.
    To withdraw a key, remove its entry.

    Args:
        path: The key file; may be a symbolic link that is swapped, as Kubernetes does with a Secret.
        clock: Gives POSIX time, seconds.

    Raises:
        KeyFileError: The file cannot be used, so there are no keys at all.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        content, self._stamp = _read_if_new(path, None, clock())
        self._problem = ""
        self._ring = KeyRing.parse(content or b"", str(path))
        self._locks = _locks(self._ring)

    @property
    def ring(self) -> KeyRing:
        """The keys that are valid now."""
        return self._ring

    def refresh(self, now: float) -> bool:
        """Read the file again if it has changed; otherwise it is only looked at.

        Args:
            now: POSIX time, seconds.

        Returns:
            Whether other keys are valid from now on.
        """
        try:
            content, self._stamp = _read_if_new(self._path, self._stamp, now)
            if content is None:
                self._problem = ""
                return False
            ring = KeyRing.parse(content, str(self._path))
        except KeyFileError as error:
            self._report(str(error))
            return False
        self._problem = ""
        if ring == self._ring:
            return False
        self._ring, self._locks = ring, _locks(ring)
        _log.info("API keys read again from %s: %s", self._path, ", ".join(entry.name for entry in ring.entries))
        return True

    def check(self, authorization: bytes | None, x_api_key: bytes | None, scope: Scope) -> Caller | Denied:
        """Say whose request this is, or why it is refused. Never raises.

        The time it takes does not depend on which key is sent, or how much of it is right.

        Args:
            authorization: Value of the header `Authorization`, if any.
            x_api_key: Value of the header `X-API-Key`, if any. If both are there, they must agree.
            scope: What the request needs.
        """
        token = _token(authorization, x_api_key)
        if isinstance(token, Denied):
            return token
        sent = digest(token)
        found = None
        for lock in self._locks:  # all of them: to stop early would tell the place
            if compare_digest(lock.digest, sent):
                found = lock
        if found is None:
            return UNKNOWN
        if self._clock() >= found.void_from:
            return EXPIRED
        return found.caller if scope in found.caller.scopes else _lacking(scope)

    def _report(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            _log.error("%s; the API keys read before stay valid", problem)


def is_loopback(host: str) -> bool:
    """Say whether only this machine reaches `host`: 127.0.0.0/8, ::1 or `localhost`. No name is resolved."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


def refuse_open_listen(host: str, *, has_keys: bool, allow_anonymous: bool) -> None:
    """Raise if everybody on a network could use the service, and nobody has said that this is meant.

    Raises:
        OpenListenError: `host` is not this machine only, there are no keys, and that is not allowed.
    """
    if has_keys or allow_anonymous or is_loopback(host):
        return
    raise OpenListenError(
        f"listening on {host!r} without API keys would let everybody on the network read users' risks: give a key "
        "file (serving.api_keys_file), listen on 127.0.0.1 (serving.host), or say that everybody may ask "
        "(serving.allow_anonymous: true)"
    )


def _token(authorization: bytes | None, x_api_key: bytes | None) -> bytes | Denied:
    if not authorization:
        token = x_api_key or b""
        if not token:
            return NO_KEY
    else:
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            return MALFORMED
        token = token.strip(b" ")
        if x_api_key and not compare_digest(token, x_api_key):
            return AMBIGUOUS
    return token if len(token) == KEY_LENGTH and token.startswith(_PREFIX) else MALFORMED


def _lacking(scope: str) -> Denied:
    challenge = f'Bearer realm="churn", error="insufficient_scope", scope="{scope}"'
    return Denied(403, f"this API key lacks the scope `{scope}`", challenge)


def _locks(ring: KeyRing) -> tuple[_Lock, ...]:
    return tuple(
        _Lock(bytes.fromhex(entry.sha256), Caller(entry.name, entry.allows()), _void_from(entry))
        for entry in ring.entries
    )


def _void_from(entry: KeyEntry) -> float:
    if entry.expires is None:
        return math.inf
    return float((entry.expires.toordinal() + 1 - _EPOCH) * 86_400)


def _read_if_new(path: Path, known: _Stamp | None, now: float) -> tuple[bytes | None, _Stamp | None]:
    """Return the content, None if it is what `known` stands for; and a stamp, None if it may change unseen."""
    try:
        with path.open("rb") as file:  # opening sees what other machines wrote; stat alone may not
            status = os.fstat(file.fileno())
            stamp = _Stamp(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            if stamp == known:
                return None, known
            content = file.read()
    except OSError as error:
        raise KeyFileError(f"the key file {path} cannot be read: {error.strerror}") from None
    return content, stamp if abs(now - stamp.changed / 1e9) > SETTLED_SECONDS else None
