"""The simulator as a process: ready in one line, gone when it is told to or when its parent is gone."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

_RUN = """
import sys
from halfgateway.simulator.process import run
sys.exit(run(cameras=2, as_json={as_json}, rtsp_port={rtsp_port}))
"""

_PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdin=subprocess.PIPE, stdout=sys.stdout)
print(child.pid, flush=True)
time.sleep(600)
"""


def program(*, as_json: bool = True, rtsp_port: int = 0) -> str:
    return _RUN.format(as_json=as_json, rtsp_port=rtsp_port)


@pytest.fixture
def process() -> Iterator[subprocess.Popen[str]]:
    started = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with started:
        yield started
        started.kill()


def ready(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line: dict[str, Any] = json.loads(process.stdout.readline())
    return line


def test_it_tells_its_cameras_in_one_line(process: subprocess.Popen[str]) -> None:
    listing = ready(process)
    assert listing["ready"] is True
    assert [set(camera) for camera in listing["cameras"]] == [
        {
            "id",
            "name",
            "site",
            "commune",
            "latitude",
            "longitude",
            "onvif_url",
            "rtsp_url",
            "username",
            "password",
        }
    ] * 2
    for camera in listing["cameras"]:
        for url in (camera["rtsp_url"], camera["onvif_url"]):
            parts = urlsplit(url)
            assert parts.port is not None
            with socket.create_connection(("127.0.0.1", parts.port), timeout=20):
                assert "@" not in parts.netloc


def test_it_tells_its_recorder_with_the_cameras_tokens(process: subprocess.Popen[str]) -> None:
    listing = ready(process)
    recorder = listing["recorder"]
    assert [each["camera"] for each in recorder["recordings"]] == [camera["id"] for camera in listing["cameras"]]
    assert recorder["recordings"][1] | {"camera": ""} == {
        "camera": "",
        "token": "RecordingToken002",
        "channel": "2",
        "folder": listing["cameras"][1]["id"],
    }
    for url in (recorder["onvif_url"], recorder["url"]):
        port = urlsplit(url).port
        assert port is not None
        with socket.create_connection(("127.0.0.1", port), timeout=20):
            assert "@" not in url
    assert recorder["footage"] is None


def test_it_ends_when_its_standard_input_is_closed(process: subprocess.Popen[str]) -> None:
    ready(process)
    output, errors = process.communicate(timeout=20)
    assert (process.returncode, output, errors) == (0, "", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_on_a_signal(process: subprocess.Popen[str], number: signal.Signals) -> None:
    ready(process)
    process.send_signal(number)
    assert process.wait(timeout=20) == 0


def test_a_parent_that_is_killed_leaves_no_simulator_behind() -> None:
    command = [sys.executable, "-c", _PARENT, program()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert json.loads(parent.stdout.readline())["ready"]
        ends = os.pidfd_open(child)
        parent.kill()
        _wait_for_end(ends)


def _wait_for_end(pidfd: int) -> None:

    readable, _, _ = select.select([pidfd], [], [], 20)
    os.close(pidfd)
    assert readable, "the simulator outlived its parent"


def test_it_ends_at_once_while_it_still_encodes(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", program()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        lock = tmp_path / "halfgateway" / "clips"
        while not (lock.is_dir() and any(lock.glob(".*.part"))):
            assert process.poll() is None
        output, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert output == ""
    assert list(lock.glob("*.mov")) == list(lock.glob(".*.part")) == []


def test_a_port_that_is_taken_is_said_and_nothing_runs_on() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-c", program(rtsp_port=port)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stdout == ""
    assert "simulate.failed" in done.stderr
    assert "Traceback" not in done.stderr


def test_for_people_it_prints_what_they_need() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", program(as_json=False)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(15)]
        process.communicate(timeout=20)
    assert lines[0].startswith("2 caméras simulées")
    assert sum("rtsp://127.0.0.1:" in line for line in lines) == 3
    assert "enregistreur simulé" in lines[9]
    assert process.returncode == 0
