"""The files below `deployment/`, as data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import yaml

Keys = tuple[str, ...]
"""Where in a document: keys and positions from the outside in."""

KUSTOMIZATION = {"kustomization.yaml", "kustomization.yml"}
GENERATORS = ("configMapGenerator", "secretGenerator")


@dataclass(frozen=True)
class Document:
    """One YAML document.

    Attributes:
        place: Its file, relative to `deployment/`'s parent.
        content: What it says.
    """

    place: str
    content: Any

    @property
    def kind(self) -> str:
        """The Kubernetes kind; empty if it has none."""
        return str(self.content.get("kind", "")) if isinstance(self.content, dict) else ""

    @property
    def name(self) -> str:
        """The Kubernetes name; empty if it has none."""
        metadata = self.content.get("metadata") if isinstance(self.content, dict) else None
        return str(metadata.get("name", "")) if isinstance(metadata, dict) else ""


@dataclass(frozen=True)
class Deployment:
    """All of it.

    Attributes:
        root: The folder `deployment`.
        documents: Every YAML document, in the order of their files' names.
        broken: Files that are no YAML, each with the reason.
    """

    root: Path
    documents: tuple[Document, ...]
    broken: tuple[str, ...]

    @classmethod
    def read(cls, root: Path) -> Self | None:
        """Read the folder; None if it is not there."""
        if not root.is_dir():
            return None
        documents: list[Document] = []
        broken = []
        for path in sorted({*root.rglob("*.yaml"), *root.rglob("*.yml")}):
            place = path.relative_to(root.parent).as_posix()
            try:
                found = [one for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one is not None]
            except (yaml.YAMLError, ValueError) as error:
                broken.append(f"{place}{_line_of(error)}")
                continue
            documents += [Document(place, content) for content in found]
        return cls(root, tuple(documents), tuple(broken))

    def below(self, folder: str) -> list[Document]:
        """The documents below a folder of it, such as `k8s`."""
        return [one for one in self.documents if one.place.startswith(f"{self.root.name}/{folder}/")]

    @cached_property
    def resources(self) -> list[Document]:
        """What is meant for a cluster: below `k8s`, without kustomizations, their patches and what they only embed."""
        embedded = {place for one in self.below("k8s") if _is_kustomization(one) for place in _embedded(one)}
        return [
            one
            for one in self.below("k8s")
            if not _is_kustomization(one) and not _is_patch(one.content) and one.place not in embedded
        ]

    def resource(self, kind: str, name: str) -> Document | None:
        """One resource; None if no file has it."""
        return next((one for one in self.resources if (one.kind, one.name) == (kind, name)), None)


def leaves(node: Any, keys: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    """Every value that is neither a list nor a mapping, with where it is."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, (*keys, str(key)))
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from leaves(value, (*keys, str(number)))
    else:
        yield keys, node


def _is_kustomization(document: Document) -> bool:
    return document.place.rpartition("/")[2] in KUSTOMIZATION


def _is_patch(content: Any) -> bool:
    """Whether it is a JSON patch: a list of operations."""
    return isinstance(content, list) and all(isinstance(one, dict) and {"op", "path"} <= one.keys() for one in content)


def _embedded(document: Document) -> Iterator[str]:
    """Files that a kustomization puts into ConfigMaps and Secrets."""
    folder = document.place.rpartition("/")[0]
    content = document.content if isinstance(document.content, dict) else {}
    for generator in GENERATORS:
        for one in content.get(generator) or []:
            yield from (f"{folder}/{name.rpartition('=')[2]}" for name in one.get("files") or [])


def _line_of(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f", line {mark.line + 1}" if mark else ""
