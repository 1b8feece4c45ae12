"""What the doctor finds of a recorder: one that works, and such as are ill."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from camera_registry.clock import SystemClock
from camera_registry.connections import Credentials, DeviceInformation
from camera_registry.errors import AuthRejected, NotSupported
from camera_registry.onvif_port import ClockReading, RecordingSpan, VideoProfile
from halfgateway.app.recorders import onvif_recorder, url_footage
from halfgateway.cli import build
from halfgateway.cli.doctor_text import recorder_text
from halfgateway.cli.recorder_doctor import examine_recorder
from halfgateway.config_recordings import OnvifRecorderSection, UrlRecorderSection
from halfgateway.inspection.recorder_doctor import ONVIF_STEPS, REPLAY_STEPS, OnvifSide, RecorderDoctor, RecorderReport
from halfgateway.net.coalescing import Coalescing
from tests.held_clock import HeldClock
from tests.replay.scripted_recorder import NOON, Manner, ScriptedRecorder, scripted_recorder
from tests.replay.test_onvif_recorder import WHOLE, Device
from tests.upstream.scripted import challenge


class Recorder(Device):
    """One whose clock is right, and which has one recording."""

    clock_offset_s = 0.0

    async def clock(self) -> ClockReading:
        return ClockReading(self.clock_offset_s, "soap")

    async def recordings(self) -> tuple[RecordingSpan, ...]:
        if self.failure is not None:
            raise self.failure
        return (WHOLE,)

    async def device_information(self) -> DeviceInformation:
        raise NotSupported("nobody asks")

    async def profiles(self) -> tuple[VideoProfile, ...]:
        raise NotSupported("nobody asks")

    async def stream_url(self, profile: VideoProfile) -> str:
        raise NotSupported("nobody asks")

    async def request_keyframe(self, profile: VideoProfile) -> None:
        raise NotSupported("nobody asks")


async def examined(played: ScriptedRecorder, device: Recorder, tmp_path: Path, token: str = "1") -> RecorderReport:
    clock = HeldClock()
    clock.advance(NOON + timedelta(minutes=30) - clock.now())
    device.url = played.url
    url = f"http://127.0.0.1:{played.port}/onvif"
    section = OnvifRecorderSection(
        kind="onvif", id="nvr", onvif_url=url, username="u", password_file=tmp_path / "p", cameras={"cam-1": token}
    )
    credentials = Credentials(username="u", password="x")
    recorder, footage = onvif_recorder(
        section, credentials, device, clock=clock, coalescing=Coalescing(), chance=lambda: 0.0
    )
    try:
        onvif = OnvifSide(url, device, device, section.cameras)
        return await RecorderDoctor("nvr", footage, onvif, clock=clock).examine()
    finally:
        await recorder.aclose()


async def test_a_recorder_that_works(tmp_path: Path) -> None:
    async with scripted_recorder(Manner()) as played:
        report = await examined(played, Recorder(), tmp_path)
        assert played.methods()[-1] == "TEARDOWN"
    assert report.ok, report
    assert [step.name for step in report.steps] == [*ONVIF_STEPS, *REPLAY_STEPS]
    assert report.steps[-1].detail["pictures"] == 5
    assert report.steps[-1].detail["began"] == report.steps[-1].detail["asked"]
    text = recorder_text(report)
    assert text.endswith("Tout fonctionne.")
    assert "H264, lit en arrière" in text
    assert json.loads(json.dumps(report.to_json()))["ok"] is True


async def test_a_recorder_that_is_ill_says_where(tmp_path: Path) -> None:
    async with scripted_recorder(Manner()) as played:
        played.script = lambda request: challenge('Digest realm="nvr", nonce="1"')
        device = Recorder()
        device.clock_offset_s = 3600.0
        report = await examined(played, device, tmp_path, token="2")
        assert sum("Authorization" in request.headers for request in played.asked) == 1  # quirk lock-out
    faults = {step.name: step.fault for step in report.steps if step.fault}
    assert faults == {
        "onvif-clock": "clock-offset",
        "recorder-recordings": "no-such-recording",
        "replay-open": "recorder-unreachable",
    }
    assert report.steps[-1].ok is None
    text = recorder_text(report)
    assert "L'enregistreur refuse nos identifiants." in text
    assert "Étapes en échec : 3." in text


async def test_a_refused_password_is_told_and_nothing_is_replayed(tmp_path: Path) -> None:
    async with scripted_recorder(Manner()) as played:
        device = Recorder()
        device.failure = AuthRejected("no")
        report = await examined(played, device, tmp_path)
        assert not played.asked
    faults = [(step.name, step.fault) for step in report.steps if step.fault]
    assert faults == [("recorder-recordings", "auth-rejected"), ("recorder-footage", "recorder-unreachable")]


async def test_one_that_is_played_by_url_is_not_verified(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("x\n", encoding="utf-8")
    async with scripted_recorder(Manner(extension=False, knows_replay=False)) as played:
        section = UrlRecorderSection(
            kind="url",
            id="nvr",
            url=f"{played.url}/{{channel}}?start={{start}}",
            username="u",
            password_file=tmp_path / "p",
            cameras={"cam-1": "1"},
        )
        report = await examine_recorder(section)
    assert report.ok, report
    assert [step.name for step in report.steps] == list(REPLAY_STEPS)
    assert report.steps[0].warnings == ["unverified-footage"]
    assert "ne lit pas en arrière" in recorder_text(report)


@pytest.mark.parametrize("days", [1, 10])
async def test_what_is_kept_is_what_the_section_says(tmp_path: Path, days: int) -> None:
    clock = SystemClock()
    section = UrlRecorderSection(
        kind="url",
        id="nvr",
        url="rtsp://nvr.example/{channel}?s={start}",
        username="u",
        password_file=tmp_path / "p",
        keeps_days=days,
        time_zone="Europe/Paris",
        cameras={"cam-1": "1"},
    )
    credentials = Credentials(username="u", password="x")
    footage = url_footage(section, credentials, clock=clock, coalescing=Coalescing(), chance=lambda: 0.0)["cam-1"]
    now = clock.now()
    (interval,) = await footage.find(now - timedelta(days=31), now)
    assert abs(interval.end - interval.start - timedelta(days=days)) < timedelta(seconds=5)


CONFIGURATION = """
[node]
data = "data"
[convention]
in_force_from = "2025-10-21T00:00:00Z"
[tls]
certificate = "cert.pem"
key = "key.pem"
client_ca = "ca.pem"
[[recorders]]
kind = "onvif"
id = "nvr"
onvif_url = "http://127.0.0.1:9/onvif/device_service"
username = "u"
password_file = "p"
cameras = { "cam-1" = "token" }
[[recorders]]
kind = "segments"
id = "folder"
folder = "footage"
cameras = { "cam-2" = "2" }
""" + "".join(
    f"""
[[cameras]]
id = "{camera}"
name = "{camera}"
site = "Gare"
commune = "Trappes"
latitude = 48.8
longitude = 2.1
onvif_url = "http://127.0.0.1:9/onvif/device_service"
username = "u"
password_file = "p"
"""
    for camera in ("cam-1", "cam-2")
)


@pytest.mark.parametrize(("recorder", "code"), [("nvr", 1), ("folder", 2)])
def test_the_command_takes_a_recorder_of_the_configuration(tmp_path: Path, recorder: str, code: int) -> None:
    for name in ("cert.pem", "key.pem", "ca.pem"):
        (tmp_path / name).touch()
    (tmp_path / "p").write_text("secret-of-the-recorder\n", encoding="utf-8")
    (tmp_path / "gateway.toml").write_text(CONFIGURATION, encoding="utf-8")
    words = ["doctor", recorder, "--config", str(tmp_path / "gateway.toml"), "--json"]
    done = CliRunner().invoke(build(words), words)
    assert done.exit_code == code, done.output
    assert "secret-of-the-recorder" not in done.output + done.stderr  # C16
    if recorder == "nvr":
        report = json.loads(done.stdout)
        assert (report["recorder"], report["ok"]) == ("nvr", False)
        assert [step["fault"] for step in report["steps"]] == ["unreachable", *[None] * 5]
