"""Where a file holds a secret in plain text. Places are told, values never."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from churn_assets.readiness.manifests import Keys, leaves

_NAMES_ONE = re.compile(
    r"pass(word|wd|phrase)?$|secret$|token$|credentials?$|(api|access|signing|private|secret|encryption)_?-?key$",
    re.IGNORECASE,
)
_ASSIGNS = re.compile(r"^([A-Za-z_][A-Za-z0-9_.-]*)=(.+)$", re.DOTALL)
_WITH_PASSWORD = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/@:$<{]*:[^\s/@$<{][^\s@]*@", re.IGNORECASE)
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_STANDS_FOR_ONE = re.compile(r"^\s*($|\$|<|\{\{|(change|replace)[ _-]?me|/)", re.IGNORECASE)
"""Nothing, a variable, a placeholder, or the path of a file."""

_OPEN_CHANNELS = {"form", "forms", "json", "jsons", "xml", "xmls"}
"""Apprise URLs without a token: the others carry one in their host or path."""


def plain_secrets(content: Any) -> list[str]:
    """Places of a document that hold a secret, dotted, each once.

    A mapping's value counts by its key, an environment variable by its name, a URL by the password in it; everything
    in a Kubernetes `Secret` counts; documents within a document (a ConfigMap's files) are looked through as well.

    Args:
        content: As YAML has it.
    """
    found = [*_of_a_secret(content), *_of_variables(content)]
    for keys, value in leaves(content):
        if not isinstance(value, str):
            continue
        if _is_secret(keys, value):
            found.append(keys)
        elif "\n" in value:
            found += [(*keys, place) for place in plain_secrets(_parsed(value))]
    return list(dict.fromkeys(".".join(keys) for keys in found))


def _is_secret(keys: Keys, value: str) -> bool:
    if _STANDS_FOR_ONE.match(value):
        return False
    if _WITH_PASSWORD.search(value) or _PRIVATE_KEY.search(value) or _is_channel(keys, value):
        return True
    assigned = _ASSIGNS.match(value)
    if assigned and _NAMES_ONE.search(assigned[1]):
        return not _STANDS_FOR_ONE.match(assigned[2])
    return bool(keys) and bool(_NAMES_ONE.search(keys[-1]))


def _is_channel(keys: Keys, value: str) -> bool:
    """Whether it is one of `notify.urls`, of a kind that holds a token."""
    named = tuple(key.lower() for key in keys)
    scheme = value.partition("://")[0].strip().lower()
    return len(named) > 2 and named[-3:-1] == ("notify", "urls") and scheme not in _OPEN_CHANNELS


def _of_a_secret(content: Any) -> Iterator[Keys]:
    if not isinstance(content, dict) or content.get("kind") != "Secret":
        return
    for part in ("data", "stringData"):
        for keys, value in leaves(content.get(part) or {}):
            if isinstance(value, str) and not _STANDS_FOR_ONE.match(value):
                yield (part, *keys)


def _of_variables(node: Any, keys: Keys = ()) -> Iterator[Keys]:
    """`{name: …, value: …}`, as a container's environment has it."""
    if isinstance(node, dict):
        name, value = node.get("name"), node.get("value")
        if isinstance(name, str) and isinstance(value, str) and _is_secret((*keys, name), value):
            yield (*keys, name)
        for key, inner in node.items():
            yield from _of_variables(inner, (*keys, str(key)))
    elif isinstance(node, list):
        for number, inner in enumerate(node):
            yield from _of_variables(inner, (*keys, str(number)))


def _parsed(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return None
