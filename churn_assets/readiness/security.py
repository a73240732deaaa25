"""Secrets: who may ask the service, what is signed, and what lies about in plain text."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from churn_assets.readiness.finding import Answer, Check, fails, passes, warns
from churn_assets.readiness.plain_secrets import plain_secrets
from churn_assets.readiness.premises import not_here
from churn_serving.key_file import KeyFileError, KeyRing
from churn_serving.security import is_loopback
from churn_serving.settings import CONFIG_VARIABLE

if TYPE_CHECKING:
    from churn_assets.readiness.premises import Premises

SECRETS = "Secrets managed (if any)"
SIGNING_KEY = "CHURN_SIGNING_KEY"
LEAST_KEY_CHARACTERS = 32
"""Of 16 random bytes in hexadecimal."""

NEW_KEY = f"export {SIGNING_KEY}=$(openssl rand -hex 32), then churn retrain"


def keys(premises: Premises) -> Answer:
    """Whether the service asks those who reach it for a key."""
    serving = premises.settings.serving
    if serving.api_keys_file is None:
        if is_loopback(serving.host):
            return passes(f"only this machine reaches {serving.host}, so no keys are needed")
        fix = "churn keys new NAME --file keys.yaml, then set `serving.api_keys_file` to it"
        return fails(f"everybody who reaches {serving.host} may read risks: there are no API keys", fix)
    fix = f"churn keys new NAME --file {serving.api_keys_file}"
    try:
        ring = KeyRing.load(serving.api_keys_file)
    except KeyFileError as error:
        return fails(str(error), fix)
    expired = [one.name for one in ring.entries if one.expires and one.expires < premises.now.date()]
    if len(expired) == len(ring.entries):
        return fails(f"all {len(expired)} keys have expired", fix)
    if expired:
        return warns(f"{len(expired)} of {len(ring.entries)} keys have expired: {', '.join(expired)}", fix)
    return passes(f"{len(ring.entries)} keys in {serving.api_keys_file}")


def signing(premises: Premises) -> Answer:
    """Whether models are signed, so that nobody who can write the storage can slip one in."""
    key = os.environ.get(SIGNING_KEY, "")
    if not key:
        return warns(f"{SIGNING_KEY} is not set: who can write the storage can change models", NEW_KEY)
    if len(key) < LEAST_KEY_CHARACTERS:
        return warns(f"{SIGNING_KEY} has {len(key)} characters, and {LEAST_KEY_CHARACTERS} are safe", NEW_KEY)
    if premises.production is None:
        return warns(f"{SIGNING_KEY} is set, and no model serves yet", "churn seed")
    version = premises.production.version
    if not premises.registry.show(version).signature:
        return fails(f"{SIGNING_KEY} is set, and {version} is unsigned: services refuse it", "churn retrain")
    return passes(f"{SIGNING_KEY} is set, and {version} is signed")


def configuration(_premises: Premises) -> Answer:
    """Whether the configuration file holds passwords; the environment, fed from a Secret, is their place."""
    path = _config_file()
    if path is None:
        return passes(f"{CONFIG_VARIABLE} is not set: there is no configuration file")
    found = plain_secrets(_yaml(path))
    if not found:
        return passes(f"{path} holds none")
    moved = ", ".join(dict.fromkeys(_variable(place) for place in found))
    who = ", and everybody on this machine may read it" if _is_open(path) else ""
    return warns(f"{path} holds {len(found)}: {', '.join(found)}{who}", f"move them to the environment: {moved}")


def readable(premises: Premises) -> Answer:
    """Whether the key file is for its owner's eyes only."""
    path = premises.settings.serving.api_keys_file
    if path is None or not path.exists():
        return passes("there is no key file")
    mode = stat.S_IMODE(path.stat().st_mode)
    told = f"{path} has mode {mode:04o}"
    return (
        warns(f"{told}: everybody on this machine may read it", f"chmod o-r {path}") if _is_open(path) else passes(told)
    )


def files(premises: Premises) -> Answer:
    """Whether the files of the deployment hold passwords."""
    if premises.deployment is None:
        return not_here(premises)
    found = [f"{one.place}: {place}" for one in premises.deployment.documents for place in plain_secrets(one.content)]
    if found:
        fix = "take them out (valueFrom.secretKeyRef), and make new ones: these are known"
        return fails(f"{len(found)} in plain text: {'; '.join(found)}", fix)
    if not premises.deployment.documents:
        return warns("deployment/ holds no YAML", "git checkout -- deployment")
    return passes(f"{len(premises.deployment.documents)} documents below deployment/ hold none")


def _config_file() -> Path | None:
    name = os.environ.get(CONFIG_VARIABLE, "")
    return Path(name) if name else None


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _variable(place: str) -> str:
    """The environment variable for a key of the configuration; lists are set as a whole."""
    parts = place.split(".")
    numbered = next((number for number, part in enumerate(parts) if part.isdigit()), len(parts))
    return f"CHURN_{'__'.join(parts[:numbered]).upper()}"


def _is_open(path: Path) -> bool:
    return bool(path.stat().st_mode & stat.S_IROTH)


CHECKS = (
    Check(SECRETS, "API keys", keys),
    Check(SECRETS, "signing key", signing),
    Check(SECRETS, "configuration", configuration),
    Check(SECRETS, "key file", readable),
    Check(SECRETS, "manifests", files),
)
