"""The cluster's commands in the runbook: each as its verb, what it names, and its options."""

import re
import shlex
from dataclasses import dataclass, field

from manifest_files import ROOT

RUNBOOK = ROOT / "deployment" / "RUNBOOK.md"
BLOCK = re.compile(r"^```kubectl\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ENDS = {"&", "&&", "||", "|", ";"}
SHORT = {"deploy": "Deployment", "deployment": "Deployment", "svc": "Service", "job": "Job", "jobs": "Job"} | {
    "cronjob": "CronJob",
    "cronjobs": "CronJob",
    "configmap": "ConfigMap",
    "pvc": "PersistentVolumeClaim",
    "pod": "Pod",
    "pods": "Pod",
    "events": "Event",
}
"""What kubectl calls a kind."""

WITH_VALUE = {"-n", "-f", "-l", "-p", "-c", "--field-selector"}
"""Options whose value is the next word."""


@dataclass
class Command:
    """A kubectl command.

    Attributes:
        text: As written, for messages.
        verb: `apply`, `rollout restart`, and so on.
        names: The other words.
        options: By name; those without a value are empty.
        inside: The command after `--`, which runs in a pod.
    """

    text: str
    verb: str = ""
    names: list = field(default_factory=list)
    options: dict = field(default_factory=dict)
    inside: list = field(default_factory=list)

    @classmethod
    def parse(cls, words):
        """Read a command's words, the first of which is `kubectl`."""
        found = cls(shlex.join(words))
        rest = iter(words[1:])
        for word in rest:
            if word == "--":
                found.inside = list(rest)
            elif word in WITH_VALUE:
                found.options[word] = next(rest) if word != "-f" or found.verb in {"", "apply"} else ""
            elif word.startswith("-"):
                name, _, value = word.partition("=")
                found.options[name] = value
            elif not found.verb:
                found.verb = word
            else:
                found.names.append(word)
        if found.verb in {"rollout", "create"}:
            found.verb += f" {found.names.pop(0)}"
        return found

    @property
    def objects(self):
        """Kind and name of each object that is named; the name is empty where a kind stands alone."""
        words, found = iter(self.names), []
        for word in words:
            kind, slash, name = word.partition("/")
            if kind not in SHORT:
                continue
            found.append((SHORT[kind], name if slash else next(words, "")))
        return found


def commands():
    """Every kubectl command of the runbook's cluster blocks."""
    return [Command.parse(words) for words in lines() if words[0] == "kubectl"]


def lines():
    """Every command of these blocks, as words."""
    found = []
    for block in BLOCK.findall(RUNBOOK.read_text(encoding="utf-8")):
        for line in _whole(block):
            found += _split(shlex.split(line, comments=True))
    return found


def _whole(block):
    """The lines of a block, those joined that a quotation or a backslash holds together."""
    waiting = ""
    for line in block.splitlines():
        waiting += line
        if waiting.endswith("\\"):
            waiting = waiting[:-1]
        elif _is_closed(waiting):
            yield waiting
            waiting = ""
        else:
            waiting += "\n"
    assert not waiting, f"a quotation is not closed: {waiting}"


def _is_closed(text):
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return False
    return True


def _split(words):
    found = [[]]
    for word in words:
        if word in ENDS:
            found.append([])
        else:
            found[-1].append(word)
    return [one for one in found if one]
