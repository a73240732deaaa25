"""Dockerfiles, the list of what the engine is sent, and the runbook's `docker` block, taken apart."""

import json
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deployment" / "docker"
RUNBOOK = ROOT / "deployment" / "RUNBOOK.md"
PATH_2 = "### Path 2: Docker on one machine"


@dataclass(frozen=True)
class Instruction:
    """A line of a Dockerfile, with those that continue it.

    Attributes:
        name: `FROM`, `RUN`, …
        text: All that follows it, on one line.
    """

    name: str
    text: str

    @property
    def words(self):
        """The text without options such as `--from=build`."""
        return [word for word in self.text.split() if not word.startswith("--")]


def read_dockerfile(path):
    """Its instructions, in order."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [Instruction(*line.split(None, 1)) for line in joined.splitlines() if line.strip()]


def final_stage(instructions):
    """What makes the image: from the last `FROM` on."""
    last = max(place for place, one in enumerate(instructions) if one.name == "FROM")
    return instructions[last:]


def named(instructions, name):
    """The texts of all instructions of one name."""
    return [one.text for one in instructions if one.name == name]


def exec_form(text):
    """The list that an instruction gives, or None if it is for a shell."""
    try:
        found = json.loads(text.removeprefix("CMD ").strip())
    except ValueError:
        return None
    return found if isinstance(found, list) else None


@dataclass(frozen=True)
class Context:
    """What the engine is sent: nothing but what is named.

    Attributes:
        rules: The lines of `.dockerignore`.
    """

    rules: tuple[str, ...]

    @classmethod
    def read(cls):
        """The one of the top folder."""
        lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        return cls(tuple(line for line in lines if line and not line.startswith("#")))

    @property
    def named(self):
        """Files and folders that are sent."""
        return [rule[1:] for rule in self.rules if rule.startswith("!")]

    def sends(self, path):
        """Whether a file is sent. Rules are of three sorts: `*`, `!path`, and `**/name`."""
        parts = PurePosixPath(path)
        sent = True
        for rule in self.rules:
            if rule == "*":
                sent = False
            elif rule.startswith("!"):
                sent |= PurePosixPath(rule[1:]) in {parts, *parts.parents}
            elif any(PurePosixPath(part).match(rule.removeprefix("**/")) for part in parts.parts):
                sent = False
        return sent


def path_2():
    """The lines of the runbook's second path."""
    section = RUNBOOK.read_text(encoding="utf-8").split(PATH_2, 1)[1]
    return re.search(r"^```docker\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)[1]
