"""A Docker engine, the images that the runbook's second path builds on it, and the containers of a test."""

import json
import os
import shutil
import subprocess
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from docker_files import FOLDER, ROOT, Context, path_2
from small_world import SMALL_WORLD

PATIENCE = 1500
STRANGER = 4321
"""Owner of the folders where the test may choose: neither root nor the images' user."""

HARDENED = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")  # noqa: S108
WORLD = {**SMALL_WORLD, "CHURN_DRIFT__EVIDENTLY": "false", "CHURN_SERVING__PORT": "8000"}

SCRIPT = """
docker() {
  if [ "$1" != run ]; then command docker "$@"; return; fi
  shift
  case " $* " in *" -p "*) set -- --detach "$@" ;; esac
  command docker run $HARDENED --label "$LABEL" --env-file "$WORLD" "$@"
}
id() { case $1 in -u) echo "$OWNER" ;; -g) echo "$OWNER" ;; esac; }
"""
"""Goes before the runbook's lines: a hardened container, a small world, and a service that leaves the terminal free."""


def missing():
    """Why there is no engine; empty if there is one."""
    if not shutil.which("docker"):
        return "no docker command"
    asked = subprocess.run(
        ["docker", "version", "--format", "{{.Server.Version}}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return "" if asked.returncode == 0 else "no Docker engine answers"


def docker(*arguments, check=True):
    """Run a docker command; return what it did."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0 or not check, done.stderr
    return done


@dataclass
class PathTwo:
    """The runbook's second path, walked in a folder of its own.

    Attributes:
        folder: Where `config`, `data` and `artifacts` are.
        owner: Their uid, and the one that `id -u` says there.
        output: What the lines have printed.
        code: Their exit code.
    """

    folder: Path
    owner: int
    label: str = field(default_factory=lambda: f"churn.test={uuid.uuid4().hex}")
    output: str = ""
    code: int = -1

    @classmethod
    def prepare(cls, folder):
        """A folder with what the images are made of, and the three that are mounted."""
        owner = STRANGER if os.getuid() == 0 else os.getuid()
        for name in [
            *Context.read().named,
            ".dockerignore",
            *(f"deployment/docker/{one.name}" for one in FOLDER.iterdir()),
        ]:
            source, target = ROOT / name, folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, target)
        for name in ("config", "data", "artifacts", ".dagster"):
            (folder / name).mkdir()
            if owner != os.getuid():
                os.chown(folder / name, owner, owner)
        return cls(folder, owner)

    def walk(self):
        """Run the lines as they stand."""
        world = self.folder / "world.env"
        world.write_text("".join(f"{name}={value}\n" for name, value in WORLD.items()), encoding="utf-8")
        environment = os.environ | {
            "HARDENED": " ".join(HARDENED),
            "LABEL": self.label,
            "WORLD": str(world),
            "OWNER": str(self.owner),
            "DOCKER_BUILDKIT": "1",
        }
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", SCRIPT + path_2()],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        self.output, self.code = done.stdout, done.returncode

    @property
    def containers(self):
        """Ids of the containers that run."""
        return docker("ps", "--quiet", "--no-trunc", "--filter", f"label={self.label}").stdout.split()

    def close(self):
        """Remove what is left."""
        for container in docker("ps", "--quiet", "--all", "--filter", f"label={self.label}").stdout.split():
            docker("rm", "--force", container, check=False)


def health(container, patience=90.0):
    """What the healthcheck says, as soon as it says anything but `starting`."""
    deadline = time.monotonic() + patience
    while (found := inspect(container)["State"]["Health"]["Status"]) == "starting" and time.monotonic() < deadline:
        time.sleep(0.25)
    return found


def inspect(name):
    """All that the engine knows of a container or an image."""
    return json.loads(docker("inspect", name).stdout)[0]
