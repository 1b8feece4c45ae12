"""What a runbook types and shows, taken from its page, and a shell in which it is typed.

In a ``console`` block a line that begins with ``$`` is typed (lines that begin with ``>`` go on with it), and the lines
after it are what is seen. ``…`` stands for anything within a line, and alone on its line for any lines. A command
ends with 0 unless the next one is ``echo $?``, under which the code stands. ``<!-- scène : NOM -->`` before a block is
something that happens before it is typed.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ANYTHING = "…"
CODE = "echo $?"
LOOKS = (
    *("curl -s $SANTE", "systemctl is-active", "journalctl", "halfgateway incident show", "halfgateway incident list"),
    *("halfgateway camera list", "halfgateway camera show", "halfgateway trace list", "halfgateway acceptance plan"),
    "halfgateway correspondence list",
)
"""How commands begin that change nothing: what they are to show may come a moment later, and they are typed again."""

LIMIT_S = 30.0
PATIENCE_S = 20.0
LOOK_S = 0.05


@dataclass(frozen=True)
class Typed:
    """A command, what is seen after it, and what happens before it."""

    page: str
    command: str
    shown: tuple[str, ...]
    scenes: tuple[str, ...] = ()


def steps_of(text: str) -> Iterator[Typed]:
    """Every command of a runbook in its order, with the scenes that come before it."""
    page, scenes = "", list[str]()
    for part in re.finditer(
        r"^## ([^\n]+)$|<!-- scène : ([^\n]+) -->|^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL
    ):
        title, scene, block = part.groups()
        if title is not None:
            page = title
        elif scene is not None:
            scenes.append(scene)
        else:
            for command, shown in _typed(block):
                yield Typed(page, command, shown, tuple(scenes))
                scenes.clear()


def _typed(block: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    for lines in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        first, *rest = lines.splitlines()
        command, shown = [first], list[str]()
        for line in rest:
            if line.startswith("> ") and not shown:
                command.append(line.removeprefix("> "))
            else:
                shown.append(line)
        yield "\n".join(command), tuple(shown)


def matches(shown: tuple[str, ...], seen: str) -> bool:
    """Whether what is seen is what the page shows."""
    pattern = "".join(r"(?:[^\n]*\n)*?" if line.strip() == ANYTHING else _loosely(line) + r"\n" for line in shown)
    return re.fullmatch(pattern, seen if not seen or seen.endswith("\n") else seen + "\n") is not None


def _loosely(line: str) -> str:
    return "[^\n]*".join(map(re.escape, line.split(ANYTHING)))


class Shell:
    """A bash in which one command is typed after another: variables, folder and functions stay.

    Commands come by a descriptor of their own: standard input is the person's, for what a command asks.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        commands, self._commands = os.pipe()
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-c", _LOOP.format(commands)],
            cwd=folder,
            env=os.environ | environment,
            pass_fds=[commands],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
        )
        os.close(commands)
        self._said = b""

    def answer(self, *lines: str) -> None:
        """What the person will type when a command asks."""
        assert self._bash.stdin is not None
        self._bash.stdin.write("".join(f"{line}\n" for line in lines).encode())

    def type(self, command: str, *, after: int = 0) -> tuple[str, int]:
        """Run a command; what is seen and its exit code. ``after`` is the code that ``$?`` holds before."""
        os.write(self._commands, f"(exit {after})\n{command}\0".encode())
        deadline = time.monotonic() + LIMIT_S
        while (end := re.search(rb"\n\x1e(\d+)\x1e", self._said)) is None:
            self._read(deadline, command)
        seen, self._said = self._said[: end.start()], self._said[end.end() :]
        return seen.decode(), int(end[1])

    def _read(self, deadline: float, command: str) -> None:
        assert self._bash.stdout is not None
        ready, _, _ = select.select([self._bash.stdout], [], [], max(0.0, deadline - time.monotonic()))
        chunk = os.read(self._bash.stdout.fileno(), 65536) if ready else b""
        assert chunk, f"{command}: no end of it\n{self._said.decode()}"
        self._said += chunk

    def __enter__(self) -> Shell:
        """Be there for the person."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the shell."""
        os.close(self._commands)
        self._bash.wait(LIMIT_S)
        for pipe in (self._bash.stdin, self._bash.stdout):
            assert pipe is not None
            pipe.close()


_LOOP = """while IFS= read -r -d '' -u {} typed; do eval "$typed"; printf '\\n\\036%d\\036' $?; done"""


class Reader:
    """Goes through a runbook as a person does: types, looks, and goes on only if it is as the page says."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.seen = ""
        self._code = 0

    def follow(self, step: Typed, following: Typed | None) -> None:
        """Type a command and look. Raises AssertionError where something else is seen."""
        until = time.monotonic() + PATIENCE_S
        told = following is not None and following.command == CODE
        while True:
            seen, code = self.shell.type(step.command, after=self._code)
            if matches(step.shown, seen) and (code == 0 or told):
                break
            shown = "\n".join(step.shown)
            assert step.command.startswith(LOOKS), f"{step.page}\n$ {step.command}\n{seen}\n[{code}], not\n{shown}"
            assert time.monotonic() < until, f"{step.page}\n$ {step.command}\n{seen}\n[{code}], not\n{shown}"
            time.sleep(LOOK_S)
        self.seen += seen
        self._code = code if told else 0
