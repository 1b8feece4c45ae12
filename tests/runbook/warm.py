"""``halfgateway`` and a stand-in for ``systemctl``, from a process that has loaded everything once.

A command is the product's own, run in a process of its own that is forked from this one: half a second of loading less
for each of a hundred. ``python -m tests.runbook.warm SOCKET LOG`` serves; :data:`CLIENT` is what a shell finds.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import socket
import sys
import time
import traceback
import urllib.request
from pathlib import Path
from typing import Any

import halfgateway.cli
import halfgateway.control.incident_entries
import halfgateway.survey

LOOK_S = 0.05
"""How often the node looks at incidents and cameras: it is as in use but for that, so that no command waits seconds."""

LAZY = (
    *("halfgateway.api.incident_shapes", "halfgateway.cli.local_trace", "halfgateway.dossiers.incident"),
    *("halfgateway.dossiers.local", "halfgateway.cli.office", "halfgateway.app", "halfgateway.config"),
)
"""What commands load only when they need it."""

CLIENT = """\
#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as room:
    room.connect({socket!r})
    wish = {{"arguments": sys.argv, "cwd": os.getcwd(), "environment": dict(os.environ)}}
    socket.send_fds(room, [json.dumps(wish).encode() + b"\\n"], [0, 1, 2])
    sys.exit(int(room.makefile().read() or 137))
"""

START_LIMIT_S = 60.0
LONGEST_WISH = 1 << 18
HIGHEST_DESCRIPTOR = 4096


def serve(where: Path, log: Path) -> None:
    """Run what is asked for, each in its own process, until SIGTERM."""
    halfgateway.cli.build([])
    halfgateway.control.incident_entries.LOOK_S = halfgateway.survey.LOOK_S = LOOK_S
    for name in LAZY:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    with socket.socket(socket.AF_UNIX) as room:
        room.bind(str(where))
        room.listen(16)
        print('{"ready": true}', flush=True)
        while True:
            wish, _ = room.accept()
            if os.fork() == 0:
                room.close()
                _fulfil(wish, log)
            wish.close()


def _fulfil(wish: socket.socket, log: Path) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    code = 1
    try:
        said, streams, _, _ = socket.recv_fds(wish, LONGEST_WISH, 3)
        while not said.endswith(b"\n"):
            said += wish.recv(LONGEST_WISH)
        asked = json.loads(said)
        _become(asked["cwd"], asked["environment"], streams)
        words = asked["arguments"]
        code = _systemctl(words[1:], log) if words[0].endswith("systemctl") else _halfgateway(words[1:])
        wish.sendall(str(code).encode())
    finally:
        if sys.exception() is not None:
            traceback.print_exc()
        os._exit(code)


def _become(cwd: str, environment: dict[str, str], streams: list[int]) -> None:
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)


def _halfgateway(arguments: list[str]) -> int:
    sys.argv = ["halfgateway", *arguments]
    try:
        halfgateway.cli.main()
    except SystemExit as done:
        return int(done.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


UNITS = {
    "halfgateway": ("node", ("serve", "--no-attendants")),
    "halfgateway-attendant@notifier": ("notifier", ("notifier",)),
    "halfgateway-attendant@watchdog": ("watchdog", ("watchdog",)),
}
"""The units of ``examples/systemd``: whose lock each holds, and what it runs."""


def _systemctl(words: list[str], log: Path) -> int:
    """As much of ``systemctl`` as the runbook types."""
    verb, units = words[0], [word for word in words[1:] if not word.startswith("-")]
    for unit in units:
        match verb:
            case "is-active":
                print("active" if _pid(unit) else "inactive", flush=True)
            case "reload":
                os.kill(_running(unit), signal.SIGHUP)
            case "kill":
                named = next(word for word in words if word.startswith("--signal="))
                os.kill(_running(unit), signal.Signals[named.removeprefix("--signal=")])
            case "stop":
                _stop(unit)
            case "start":
                _start(unit, log)
            case "restart":
                _stop(unit)
                _start(unit, log)
            case _:
                return 1
    return 0 if verb != "is-active" or all(map(_pid, units)) else 3


def _data() -> Path:
    return Path(os.environ["DONNEES"])


def _pid(unit: str) -> int | None:
    lock = _data() / "run" / f"{UNITS[unit][0]}.lock"
    try:
        said: Any = json.loads(lock.read_text())
        pid = int(said["pid"] if isinstance(said, dict) else said)
        os.kill(pid, 0)
    except (OSError, ValueError, KeyError):
        return None
    return pid


def _running(unit: str) -> int:
    pid = _pid(unit)
    assert pid is not None, f"{unit} does not run"
    return pid


def _stop(unit: str) -> None:
    pid = _pid(unit)
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        _wait(lambda: _pid(unit) is None)


def _start(unit: str, log: Path) -> None:
    if os.fork() == 0:
        os.setsid()
        with log.open("ab") as kept, Path(os.devnull).open("rb") as nothing:
            for number, stream in enumerate((nothing, kept, kept)):
                os.dup2(stream.fileno(), number)
        os.closerange(3, HIGHEST_DESCRIPTOR)  # whoever asked does not wait for it
        os._exit(_halfgateway(list(UNITS[unit][1])))
    _wait(lambda: _pid(unit) is not None and (unit != "halfgateway" or _alive()))


def _alive() -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"{os.environ['SANTE']}/healthz", timeout=1):
        return True
    return False


def _wait(condition: Any) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), Path(sys.argv[2]))
