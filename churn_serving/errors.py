"""What can be wrong with an artifact, as types: what, where, and what to do about it."""

from __future__ import annotations


class ArtifactError(Exception):
    """Something about a model version that must not be served as it is."""


class MissingFileError(ArtifactError):
    """A file that the version should have is not there."""


class DigestError(ArtifactError):
    """A file's bytes are not those that were registered."""


class ManifestError(ArtifactError):
    """The manifest cannot be read, or describes something else than what lies beside it."""


class SignatureError(ArtifactError):
    """A signing key is set and the manifest is unsigned, or signed with another key."""


class ScorerError(ArtifactError):
    """The compiled scorer cannot be read, or its arrays are not a possible model."""


class GoldenRowError(ArtifactError):
    """The scorer gives its golden rows other scores than the model did when it was trained."""


class VersionExistsError(ArtifactError):
    """A version of this name exists with other content; versions are never overwritten."""


class UnknownVersionError(ArtifactError):
    """No such version is registered."""


class ForeignAliasError(ArtifactError):
    """`production_latest.joblib` holds bytes that belong to no registered version."""


class RegistryBusyError(ArtifactError):
    """Another process holds the registry's lock for longer than the caller wants to wait."""


class EncodingError(ValueError):
    """A row or a table does not have the form of the model's features."""


class ChampionChangedError(ArtifactError):
    """Another version has come to serve since the challenger was judged: judge it again."""
