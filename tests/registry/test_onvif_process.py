"""Devices asked in a process of its own: the same answers and errors, and nothing lost when it ends (ADR 0005)."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from registry.odd_device import not_authorised, odd_device, soap_answer
from simulated_cameras import H264

from camera_registry.clock import SystemClock
from camera_registry.connections import Credentials
from camera_registry.errors import (
    AuthRejected,
    ClientLost,
    ForbiddenHost,
    Locked,
    Malformed,
    RegistryError,
    Unreachable,
)
from camera_registry.guard import CredentialGuard
from camera_registry.hosts import AllowedHosts
from camera_registry.onvif_client import onvif_opener
from camera_registry.onvif_life import Patience
from camera_registry.onvif_port import OpenDevice
from camera_registry.onvif_process import COMMAND, OnvifProcess
from camera_registry.onvif_wire import Begin, frame_of
from halfgateway.simulator.camera import SimulatedCamera
from halfgateway.simulator.simulator import Simulator
from tests.conftest import uncounted_processes

SOME = Credentials(username="passerelle", password="secret-of-the-camera")
INFORMATION = (
    "<tds:GetDeviceInformationResponse><tds:Manufacturer>Vigie</tds:Manufacturer></tds:GetDeviceInformationResponse>"
)
WAIT_S = 60.0


@asynccontextmanager
async def running(
    patience: Patience | None = None,
    command: tuple[str, ...] = COMMAND,
    *,
    now: Callable[[], float] = time.monotonic,
) -> AsyncIterator[OnvifProcess]:
    process = OnvifProcess(
        allowed=AllowedHosts(["127.0.0.1"]),
        guard=CredentialGuard(SystemClock()),
        now=now,
        patience=patience,
        command=command,
    )
    try:
        yield process
    finally:
        await process.aclose()


@pytest.fixture
async def onvif() -> AsyncIterator[OnvifProcess]:
    with uncounted_processes():  # the tests that start theirs by themselves count
        async with running(Patience(rest_s=0.05)) as process:
            yield process


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.01)


def runs(pid: int) -> bool:
    """Whether a process has not ended, a corpse apart."""
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def says(request: web.Request, operation: str) -> web.StreamResponse:
    return soap_answer(INFORMATION)


async def refuses(request: web.Request, operation: str) -> web.StreamResponse:
    return not_authorised()


async def everything_of(opened: OpenDevice, camera: SimulatedCamera) -> tuple[object, ...]:
    credentials = Credentials(username=camera.identity.username, password=camera.identity.password)
    async with opened(camera.onvif_url, credentials) as device:
        reading = await device.clock()
        information = await device.device_information()
        profiles = await device.profiles()
        urls = [await device.stream_url(profile) for profile in profiles]
        await device.request_keyframe(profiles[0])
    return reading.source, information, profiles, urls


async def test_it_answers_what_the_client_in_this_process_answers(simulator: Simulator) -> None:
    camera, clock = simulator.cameras[H264], SystemClock()
    here = onvif_opener(
        allowed=AllowedHosts(["127.0.0.1"]), guard=CredentialGuard(clock), clock=clock, random_bytes=os.urandom
    )
    async with running() as onvif:
        assert await everything_of(onvif.open, camera) == await everything_of(here, camera)


async def test_errors_are_what_they_are_here(onvif: OnvifProcess) -> None:
    async def rubbish(request: web.Request, operation: str) -> web.StreamResponse:
        return web.Response(text="rubbish")

    async with onvif.open("http://127.0.0.1:1/", SOME) as nobody, odd_device(rubbish) as odd:
        with pytest.raises(Unreachable, match="no connection"):
            await nobody.clock()
        async with onvif.open(odd.url, SOME) as device:
            with pytest.raises(Malformed):
                await device.device_information()


async def test_no_process_is_started_for_a_host_that_may_not_be_asked(onvif: OnvifProcess) -> None:
    # quirk onvif-address-elsewhere
    async with onvif.open("http://127.0.0.2:1/", SOME) as device:
        with pytest.raises(ForbiddenHost):
            await device.clock()
    assert onvif.pid is None


async def test_other_hosts_may_be_asked_from_one_moment_to_the_next(simulator: Simulator, onvif: OnvifProcess) -> None:
    # T15: the configuration is read again while the node runs
    device = onvif.open(simulator.cameras[H264].onvif_url, None)
    await device.clock()
    before = onvif.pid
    onvif.allow(AllowedHosts(["192.0.2.1"]))
    with pytest.raises(ForbiddenHost):
        await device.clock()
    onvif.allow(AllowedHosts(["127.0.0.1"]))
    await device.clock()
    assert onvif.pid not in {None, before}


async def test_a_device_cannot_send_it_elsewhere(onvif: OnvifProcess) -> None:
    # quirk onvif-address-elsewhere: the allow-list holds in that process too
    strangers = 0

    def visited(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal strangers
        strangers += 1
        writer.close()

    stranger = await asyncio.start_server(visited, "127.0.0.2", 0)
    address = f"http://127.0.0.2:{stranger.sockets[0].getsockname()[1]}/media"

    async def elsewhere(request: web.Request, operation: str) -> web.StreamResponse:
        return soap_answer(
            "<tds:GetServicesResponse><tds:Service><tds:Namespace>http://www.onvif.org/ver10/media/wsdl</tds:Namespace>"
            f"<tds:XAddr>{address}</tds:XAddr><tds:Version><tt:Major>2</tt:Major><tt:Minor>0</tt:Minor>"
            "</tds:Version></tds:Service></tds:GetServicesResponse>"
        )

    async with stranger, odd_device(elsewhere) as odd, onvif.open(odd.url, SOME) as device:
        with pytest.raises(Unreachable):  # the same port of the device itself
            await device.profiles()
    assert odd.operations == ["GetServices"]
    assert strangers == 0


async def test_a_refused_password_stays_refused_when_the_process_has_gone(onvif: OnvifProcess) -> None:
    # quirk lock-out: the guard is the node's
    async with odd_device(refuses) as odd, onvif.open(odd.url, SOME) as device:
        with pytest.raises(AuthRejected):
            await device.device_information()
        tries, first = odd.tries, onvif.pid
        with pytest.raises(Locked):
            await device.device_information()
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: onvif.pid is None)
        async with onvif.open(odd.url, SOME) as again:
            with pytest.raises(Locked):
                await again.device_information()
        assert onvif.pid not in {None, first}
        assert tries == odd.tries == 1


async def test_of_many_that_ask_at_once_one_tries_a_new_password(onvif: OnvifProcess) -> None:
    async def ask(url: str) -> str:
        async with onvif.open(url, SOME) as device:
            try:
                await device.device_information()
            except RegistryError as error:
                return error.cause
        return "answered"

    async with odd_device(refuses) as odd:
        causes = await asyncio.gather(*(ask(odd.url) for _ in range(6)))
    assert sorted(causes) == ["auth-rejected", *["locked"] * 5]
    assert odd.tries == 1


async def test_killed_in_mid_request_it_fails_with_a_declared_error_and_is_started_again(onvif: OnvifProcess) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def hangs_once(request: web.Request, operation: str) -> web.StreamResponse:
        asked.set()
        await answer.wait()
        return soap_answer(INFORMATION)

    async with odd_device(hangs_once) as odd, onvif.open(odd.url, SOME) as device:
        asking = asyncio.create_task(device.device_information())
        async with asyncio.timeout(WAIT_S):
            await asked.wait()
        first = onvif.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        with pytest.raises(ClientLost):
            await asking
        answer.set()
        assert (await device.device_information()).manufacturer == "Vigie"
        assert onvif.pid not in {None, first}


async def test_a_call_that_is_given_up_lets_the_next_one_go(onvif: OnvifProcess) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def hangs_signed(request: web.Request, operation: str) -> web.StreamResponse:
        if b"UsernameToken" not in await request.read():
            return not_authorised()
        asked.set()
        await answer.wait()
        return soap_answer(INFORMATION)

    async with odd_device(hangs_signed) as odd, onvif.open(odd.url, SOME) as device:
        given_up = asyncio.create_task(device.device_information())
        async with asyncio.timeout(WAIT_S):
            await asked.wait()
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        answer.set()
        async with asyncio.timeout(WAIT_S), onvif.open(odd.url, SOME) as other:
            assert (await other.device_information()).manufacturer == "Vigie"


async def test_one_that_hangs_is_killed() -> None:
    passed_s = 0.0
    patience = Patience(look_s=0.01)
    async with (
        running(patience, now=lambda: passed_s) as onvif,
        odd_device(says) as odd,
        onvif.open(odd.url, SOME) as device,
    ):
        await device.device_information()
        hanging = onvif.pid
        assert hanging is not None
        os.kill(hanging, signal.SIGSTOP)
        asking = asyncio.create_task(device.device_information())
        while not asking.done():
            passed_s += patience.silent_s / 4
            await asyncio.sleep(0.02)
        with pytest.raises(ClientLost):
            await asking
        assert not runs(hanging)


async def test_one_that_nobody_asks_ends_and_the_next_knows_the_devices(simulator: Simulator) -> None:
    camera = simulator.cameras[H264]
    camera.behaviour.clock_offset_s = -7200.0
    credentials = Credentials(username=camera.identity.username, password=camera.identity.password)
    async with running(Patience(idle_s=0.05, look_s=0.02)) as onvif:
        async with onvif.open(camera.onvif_url, credentials) as device:
            await device.clock()
            first = onvif.pid
            await until(lambda: onvif.pid is None)
            # by a token that is signed with the device's time, of which the second process has read nothing
            assert (await device.device_information()).serial == camera.identity.serial
        assert first is not None
        await until(lambda: not runs(first))


async def test_it_rests_between_deaths_for_longer_each_time(caplog: pytest.LogCaptureFixture) -> None:
    dies = (sys.executable, "-c", "raise SystemExit(3)")
    loop = asyncio.get_running_loop()
    async with running(Patience(rest_s=0.05, longest_rest_s=0.2), dies) as onvif:
        async with onvif.open("http://127.0.0.1:1/", SOME) as device:
            began_s = loop.time()
            for _ in range(4):
                with pytest.raises(ClientLost):
                    await device.clock()
        assert loop.time() - began_s >= 0.05 + 0.1 + 0.2
        await until(lambda: caplog.text.count("code=3") == 4)


async def test_what_cannot_be_started_is_a_declared_error() -> None:
    nothing = running(Patience(rest_s=0.0), ("/nonexistent/python",))
    async with nothing as onvif, onvif.open("http://127.0.0.1:1/", SOME) as device:
        with pytest.raises(ClientLost):
            await device.clock()


@pytest.mark.parametrize(
    "said",
    [
        b"\xff\xff\xff\xff",
        b'\0\0\0\2{"',
        b"\0\0\0\2{}",
        b'\0\0\0\x43{"op":"failure","number":0,"cause":"none","words":""}',
    ],
)
async def test_nonsense_from_it_is_a_declared_error(said: bytes) -> None:
    speaks = (sys.executable, "-c", f"import os; os.read(0, 1); os.write(0, {said!r}); os.read(0, 99)")
    patience = Patience(rest_s=0.0, stop_s=0.1)
    async with running(patience, speaks) as onvif, onvif.open("http://127.0.0.1:1/", SOME) as device:
        with pytest.raises(ClientLost):
            await device.clock()


async def test_no_password_is_in_its_arguments_or_its_environment(onvif: OnvifProcess) -> None:
    # C16
    async with odd_device(says) as odd, onvif.open(odd.url, SOME) as device:
        await device.device_information()
        about = Path("/proc", str(onvif.pid))
        assert SOME.password.encode() not in (about / "cmdline").read_bytes() + (about / "environ").read_bytes()


async def test_the_loop_of_who_asks_goes_on_while_the_library_loads(onvif: OnvifProcess) -> None:
    longest_s, over = 0.0, False

    async def tick() -> None:
        nonlocal longest_s
        while not over:
            before_s = time.thread_time()  # of this thread: what others do to the machine is not in it
            await asyncio.sleep(0.001)
            longest_s = max(longest_s, time.thread_time() - before_s)

    ticking = asyncio.create_task(tick())
    async with odd_device(says) as odd, onvif.open(odd.url, SOME) as device:
        await device.device_information()
    over = True
    await ticking
    print(f"the loop was kept for {longest_s * 1000:.1f} ms at the longest")
    assert longest_s < 0.15


_NODE = """
import asyncio, sys, time
from camera_registry.clock import SystemClock
from camera_registry.errors import RegistryError
from camera_registry.guard import CredentialGuard
from camera_registry.hosts import AllowedHosts
from camera_registry.onvif_process import OnvifProcess

async def main():
    onvif = OnvifProcess(allowed=AllowedHosts(["127.0.0.1"]), guard=CredentialGuard(SystemClock()), now=time.monotonic)
    async with onvif.open("http://127.0.0.1:1/", None) as device:
        try:
            await device.clock()
        except RegistryError:
            print(onvif.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("hangs", [False, True])
async def test_it_does_not_outlive_a_node_that_is_killed(hangs: bool) -> None:
    node = subprocess.Popen([sys.executable, "-c", _NODE], stdout=subprocess.PIPE)
    assert node.stdout is not None
    try:
        pid = int(await asyncio.to_thread(node.stdout.readline))
        assert runs(pid)
        if hangs:
            os.kill(pid, signal.SIGSTOP)
    finally:
        node.kill()
        node.wait()
        node.stdout.close()
    await until(lambda: not runs(pid))


def test_it_loads_nothing_for_a_node_that_died_before_it_had_begun() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(frame_of(Begin(hosts=("127.0.0.1",), timeout_s=1.0)))
        ours.close()
        begun = [sys.executable, "-X", "importtime", "-m", "camera_registry.onvif_worker"]
        done = subprocess.run(begun, stdin=theirs, stderr=subprocess.PIPE, text=True, timeout=60, check=True)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert ("camera_registry.onvif_library" in loaded, "zeep" in loaded) == (True, False)


def test_what_a_node_loads_does_not_hold_the_library() -> None:
    program = "import sys, halfgateway.app; print(*{'onvif', 'zeep', 'lxml', 'alembic', 'av'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == ""
