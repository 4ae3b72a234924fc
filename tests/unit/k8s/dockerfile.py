"""What the Dockerfile says, for tests that run its image without Docker: steps, environment, user, entry point.

Only what our own Dockerfile uses is understood: named stages, ARG with a default, ENV and RUN on one line once
continued lines are joined.
"""

import json
import platform
import re

from tests.unit.k8s.manifests import REPOSITORY

Instruction = tuple[str, str]
LAST = "image"
"""What the stage without a name is called here."""


def stages() -> dict[str, list[Instruction]]:
    """(instruction, rest) of each stage by its name, FROM included."""
    text = re.sub(r"\\\n", "", (REPOSITORY / "Dockerfile").read_text())
    found: dict[str, list[Instruction]] = {}
    current: list[Instruction] = []
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if not word or word.startswith("#"):
            continue
        if word == "FROM":
            name = re.search(r" AS (\S+)$", rest)
            current = found.setdefault(name[1] if name else LAST, [])
        current.append((word, rest.strip()))
    return found


def steps() -> list[str]:
    """All that is run, in order, but what comes from Debian."""
    run = [rest for stage in stages().values() for word, rest in stage if word == "RUN"]
    return [step for step in run if "apt-get" not in step]


def environment(stage: str = LAST, machine: str | None = None) -> dict[str, str]:
    """What the stage's processes find, with that of the stages it begins from. ``machine``: None is this one's kind."""
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}[machine or platform.machine()]
    all_stages = stages()
    found: dict[str, str] = {}
    arguments: dict[str, str] = {"TARGETARCH": architecture}
    for word, rest in all_stages[stage]:
        if word == "FROM":
            before = re.sub(r" AS \S+$", "", rest).replace("${TARGETARCH}", architecture)
            if before in all_stages:
                found |= environment(before, machine)
        elif word == "ARG":
            name, _, value = rest.partition("=")
            arguments[name] = value
        elif word == "ENV":
            for name, value in re.findall(r"(\w+)=(\S*)", rest):
                found[name] = re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], value)
    return found


def last(word: str) -> str:
    """The rest of an instruction of the last stage."""
    return dict(stages()[LAST])[word]


def entry() -> list[str]:
    """The program of the entry point, without the tini that starts it."""
    line = json.loads(last("ENTRYPOINT"))
    assert line[:2] == ["/usr/bin/tini", "--"], "process 1 hands signals on"
    return [str(word) for word in line[2:]]
