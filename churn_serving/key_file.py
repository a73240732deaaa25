"""The file of API keys: names, scopes and digests; the keys themselves are stored nowhere.

It is a YAML list:

    - {name: crm, scopes: [predict], sha256: <64 hexadecimal digits>}
    - {name: ops, scopes: [admin], sha256: <64 hexadecimal digits>, expires: 2027-01-31}

A key is a random token of 256 bits. A plain SHA-256 of it is enough, without salt or a slow hash: those protect what
people can guess, and nobody guesses 256 bits.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal, cast, get_args

import yaml

from churn_serving import atomic

Scope = Literal["predict", "read", "admin"]
"""What a key may do: score, look at the model and reports, or both and all the rest."""

SCOPES: tuple[str, ...] = get_args(Scope)

KEY_PREFIX = "churn_"
"""What every key begins with, so that scanners for leaked secrets find it."""

KEY_LENGTH = len(KEY_PREFIX) + 43
"""Characters of a key: the prefix, and 32 bytes in URL-safe base64."""

_FIELDS = ("name", "scopes", "sha256", "expires")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")  # too short for a key that was put there by mistake
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LONGEST_SHOWN = 24


class KeyFileError(ValueError):
    """The key file cannot be used. The message says which entry, what is wrong and what is allowed, and no key."""


@dataclass(frozen=True)
class KeyEntry:
    """One key, without the key.

    Attributes:
        name: Who uses it; appears in logs.
        scopes: What it may do, as written in the file.
        sha256: Digest of the key's ASCII bytes, hexadecimal.
        expires: Last day (UTC) on which it works, if it ends.
    """

    name: str
    scopes: tuple[Scope, ...]
    sha256: str
    expires: date | None = None

    def allows(self) -> frozenset[str]:
        """Return all that the scopes permit: `admin` includes the others."""
        return frozenset(SCOPES if "admin" in self.scopes else self.scopes)

    def line(self) -> str:
        """Return the entry as a line of the file."""
        fields: dict[str, Any] = {"name": self.name, "scopes": list(self.scopes), "sha256": self.sha256}
        if self.expires:
            fields["expires"] = self.expires
        return yaml.safe_dump([fields], default_flow_style=None, sort_keys=False, width=1000)


@dataclass(frozen=True)
class KeyRing:
    """The keys of a file; at least one, each name and each digest once."""

    entries: tuple[KeyEntry, ...]

    @classmethod
    def load(cls, path: Path) -> KeyRing:
        """Read a key file.

        Raises:
            KeyFileError: It cannot be read, is no YAML list, is empty, or an entry is refused.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise KeyFileError(f"the key file {path} cannot be read: {error.strerror}") from None
        return cls.parse(content, str(path))

    @classmethod
    def parse(cls, content: bytes, where: str) -> KeyRing:
        """Read the content of the key file at `where`.

        Raises:
            KeyFileError: It is no YAML list, is empty, or an entry is refused.
        """
        listed = _yaml_list(content, where)
        entries = tuple(_entry(item, f"{where}, entry {number}") for number, item in enumerate(listed, start=1))
        _refuse_twice((entry.name for entry in entries), where, "are named {}; give each key a name of its own")
        names = ((entry.sha256, entry.name) for entry in entries)
        _refuse_same_key(names, where)
        return cls(entries)


def generate(name: str, scopes: Iterable[str], expires: date | None = None) -> tuple[str, KeyEntry]:
    """Make a new key.

    Args:
        name: Who will use it: up to 40 letters, digits, dots, dashes and underscores.
        scopes: What it may do, of `SCOPES`.
        expires: Last day (UTC) on which it works.

    Returns:
        The key, to be shown once and given to its user, and the entry for the file.

    Raises:
        KeyFileError: The name or a scope is refused.
    """
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    where = "the new key"
    return key, KeyEntry(_name(name, where), _scopes(list(scopes), where), digest(key.encode()).hex(), expires)


def add(path: Path, entry: KeyEntry) -> None:
    """Add an entry to a key file, which is made if need be, for its owner's eyes only.

    Raises:
        KeyFileError: The file as it is, or as it would be, is refused; then it is as before.
        OSError: It cannot be written; then it is as before.
    """
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    after = before + ("" if not before or before.endswith("\n") else "\n") + entry.line()
    KeyRing.parse(after.encode(), str(path))
    with atomic.writing(path) as part:
        part.touch(mode=0o600)
        part.write_text(after, encoding="utf-8")


def digest(key: bytes) -> bytes:
    """Return the SHA-256 of a key, 32 bytes."""
    return hashlib.sha256(key).digest()


def _yaml_list(content: bytes, where: str) -> list[Any]:
    try:
        # BaseLoader makes text of every scalar: a digest of digits only stays a digest, and nothing else is built.
        listed = yaml.load(content.decode(), Loader=yaml.BaseLoader)  # noqa: S506 - it is the safest of all
    except yaml.MarkedYAMLError as error:  # whose own words quote the file
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise KeyFileError(f"{where}{line}: this is not YAML; an entry is {_EXAMPLE}") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise KeyFileError(f"{where}: this is not YAML in UTF-8; an entry is {_EXAMPLE}") from None
    if not isinstance(listed, list) or not listed:
        raise KeyFileError(f"{where}: this should be a list with at least one entry such as {_EXAMPLE}")
    return listed


def _entry(item: Any, where: str) -> KeyEntry:
    if not isinstance(item, dict):
        raise KeyFileError(f"{where}: this is no entry such as {_EXAMPLE}")
    for field in item:
        if field not in _FIELDS:
            raise KeyFileError(f"{where}: unknown field {_shown(field)}; allowed are {', '.join(_FIELDS)}")
    name = _name(item.get("name"), where)
    where = f"{where} ({name})"
    return KeyEntry(name, _scopes(item.get("scopes"), where), _sha256(item.get("sha256"), where), _expires(item, where))


def _name(value: Any, where: str) -> str:
    if isinstance(value, str) and _NAME.fullmatch(value):
        return value
    raise KeyFileError(
        f"{where}: `name` should be up to 40 letters, digits, dots, dashes and underscores, not {_shown(value)}"
    )


def _scopes(value: Any, where: str) -> tuple[Scope, ...]:
    if not isinstance(value, list) or not value:
        raise KeyFileError(f"{where}: `scopes` should be a list with at least one of {', '.join(SCOPES)}")
    for scope in value:
        if scope not in SCOPES:
            raise KeyFileError(f"{where}: unknown scope {_shown(scope)}; allowed are {', '.join(SCOPES)}")
    return cast("tuple[Scope, ...]", tuple(value))


def _sha256(value: Any, where: str) -> str:
    text = value.lower() if isinstance(value, str) else ""
    if text.startswith(KEY_PREFIX):
        raise KeyFileError(
            f"{where}: `sha256` holds a key and not its digest; others may have read it here, so make a new key"
        )
    if not _SHA256.fullmatch(text):
        raise KeyFileError(f"{where}: `sha256` should be 64 hexadecimal digits, not {_size(value)}")
    return text


def _expires(item: dict[str, Any], where: str) -> date | None:
    value = item.get("expires")
    if value is None:
        return None
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise KeyFileError(f"{where}: `expires` should be a day such as 2027-01-31, not {_shown(value)}") from None


def _refuse_twice(names: Iterable[str], where: str, problem: str) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise KeyFileError(f"{where}: several entries {problem.format(', '.join(twice))}")


def _refuse_same_key(pairs: Iterable[tuple[str, str]], where: str) -> None:
    first: dict[str, str] = {}
    for sha256, name in pairs:
        if first.setdefault(sha256, name) != name:
            raise KeyFileError(f"{where}: {first[sha256]} and {name} are the same key; make one for each")


def _shown(value: Any) -> str:
    """Describe a refused value; a long one might be a key and is not repeated."""
    short = isinstance(value, str) and len(value) <= _LONGEST_SHOWN
    return repr(value) if short else _size(value)


def _size(value: Any) -> str:
    if value is None:
        return "nothing"
    return f"{len(value)} characters" if isinstance(value, str) else f"a {type(value).__name__}"


_EXAMPLE = "`- {name: crm, scopes: [predict], sha256: <64 hexadecimal digits>}`"
