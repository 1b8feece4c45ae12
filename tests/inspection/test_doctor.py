"""What the doctor finds: of each kind of camera, and of those that are ill."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from camera_registry.clock import SystemClock
from camera_registry.connections import Credentials
from camera_registry.inventory import Device
from halfgateway.cli.doctor_text import doctor_text
from halfgateway.inspection.doctor import STEPS, Doctor, Report
from halfgateway.simulator.behaviour import Behaviour, Refusal
from halfgateway.simulator.camera import SimulatedCamera
from halfgateway.simulator.packets import Clip
from tests.simulator.test_kinds import BEHIND_NAT, ODD_SOAP, TWO_PROFILES, UDP_ONLY, WRONG_CLOCK, camera_of_kind

ORDINARY, H265 = 0, 1


def device_of(camera: SimulatedCamera, *, password: str | None = None) -> Device:
    identity = camera.identity
    return Device(
        id=identity.id,
        name=identity.name,
        site=identity.site,
        commune=identity.commune,
        latitude=identity.latitude,
        longitude=identity.longitude,
        onvif_url=camera.onvif_url,
        credentials=Credentials(username=identity.username, password=password or identity.password),
    )


async def examined(
    camera: SimulatedCamera, *, profile: str | None = None, password: str | None = None, known: bool = False
) -> Report:
    streams = {"main": camera.rtsp_url} if known else {}
    doctor = Doctor(device_of(camera, password=password), streams, clock=SystemClock())
    return await doctor.examine(profile=profile, seconds=0.5)


def faults(report: Report) -> dict[str, str | None]:
    return {step.name: step.fault for step in report.steps if not step.ok}


@pytest.mark.parametrize("kind", [ORDINARY, BEHIND_NAT, ODD_SOAP])
async def test_a_camera_that_works_is_measured(short_clip: Clip, kind: int) -> None:
    async with camera_of_kind(kind, short_clip) as camera:
        report = await examined(camera)
        assert camera.rtsp_counters.audio_setups == 0  # L08
        assert camera.session_count == 0, "it says goodbye"
    assert report.ok, report
    assert [step.name for step in report.steps] == list(STEPS)
    described, played = report.steps[-4].detail, report.steps[-2].detail
    assert (described["codec"], described["width"], described["height"]) == ("H264", 320, 180)
    assert described["parameter_sets_in_sdp"]
    assert (played["width"], played["height"]) == (320, 180)
    assert played["gop_frames"] == 10
    assert 20 < played["fps"] < 30
    assert played["parameter_sets_in_band"]
    assert 0 < played["largest_packet_bytes"] <= 1400
    assert played["sender_reports"] >= 1
    assert played["kbps"] > 0
    assert not report.steps[-2].warnings


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_camera_that_has_nothing_but_udp_is_measured(short_clip: Clip, host: str) -> None:
    # row 41
    async with camera_of_kind(UDP_ONLY, short_clip, host=host) as camera:
        report = await examined(camera)
        assert camera.session_count == 0, "it says goodbye"
    assert report.ok, report
    set_up, played = report.steps[-3].detail, report.steps[-2].detail
    assert set_up["transport"] == "udp"
    assert (played["width"], played["gop_frames"], played["lost_packets"]) == (320, 10, 0)
    assert played["sender_reports"] >= 1
    assert "UDP, faute de TCP entrelacé" in doctor_text(report)


async def test_a_camera_without_a_transport_that_is_taken_is_ill(short_clip: Clip) -> None:
    async with camera_of_kind(ORDINARY, short_clip, Behaviour(transports=frozenset())) as camera:
        report = await examined(camera)
    assert faults(report) == {"rtsp-setup": "rtsp-461", "rtsp-play": None, "rtsp-teardown": None}
    assert "ni TCP entrelacé, ni UDP" in doctor_text(report)


async def test_a_report_never_holds_a_credential(short_clip: Clip) -> None:  # C16
    async with camera_of_kind(TWO_PROFILES, short_clip, sub_clip=short_clip) as camera:
        report = await examined(camera)
        told = json.dumps(report.to_json()) + doctor_text(report)
        assert camera.identity.password not in told
        assert camera.identity.username not in told
        assert "Tout fonctionne" in told


async def test_the_profile_that_is_named_is_measured(small_clip: Clip, short_clip: Clip) -> None:
    smaller = replace(short_clip, spec=replace(short_clip.spec, width=160, height=90))
    async with camera_of_kind(TWO_PROFILES, small_clip, sub_clip=smaller) as camera:
        report = await examined(camera, profile="sub")
        assert report.ok, report
        assert report.profile == "sub"
        assert report.steps[-2].detail["gop_frames"] == 10
        assert faults(await examined(camera, profile="p9")) == {
            "rtsp-connect": "unreachable",
            **dict.fromkeys(STEPS[6:]),
        }


async def test_sound_is_reported_and_never_asked_for(short_clip: Clip) -> None:  # L08
    with_sound = replace(short_clip, audio=(b"\xd5" * 160,))
    async with camera_of_kind(ORDINARY, with_sound) as camera:
        report = await examined(camera)
        assert report.ok, report
        assert report.steps[-4].detail["audio_offered"] is True
        assert report.steps[-4].detail["audio_set_up"] is False
        assert camera.rtsp_counters.audio_setups == 0
        assert camera.media_counters.audio_packets == 0


async def test_a_wrong_clock_is_a_fault_and_all_else_goes_on(short_clip: Clip) -> None:
    async with camera_of_kind(WRONG_CLOCK, short_clip) as camera:
        report = await examined(camera)
    assert faults(report) == {"onvif-clock": "clock-offset"}
    assert "horloge fausse" in doctor_text(report)
    played = report.steps[-2]
    assert played.warnings == ["report-clock-off"]  # T14
    assert played.detail["clock_offset_s"] == pytest.approx(report.steps[1].detail["offset_s"], abs=10)
    assert "l'heure des rapports RTCP est fausse" in doctor_text(report)


async def test_a_wrong_password_is_tried_once_each_way(short_clip: Clip) -> None:  # quirk lock-out
    async with camera_of_kind(ORDINARY, short_clip) as camera:
        report = await examined(camera, password="wrong", known=True)
        asked = camera.rtsp_counters.requests
    assert faults(report) == {
        "onvif-device-information": "auth-rejected",
        "onvif-profiles": "locked",
        "onvif-stream-uri": "no-video",
        "rtsp-describe": "rtsp-401",
        "rtsp-setup": None,
        "rtsp-play": None,
        "rtsp-teardown": None,
    }
    assert asked["DESCRIBE"] == 2, "once to be challenged, once to answer"


async def test_a_camera_that_refuses_says_why(short_clip: Clip) -> None:
    async with camera_of_kind(ORDINARY, short_clip, Behaviour(rtsp_refusal=Refusal(503))) as camera:
        assert faults(await examined(camera))["rtsp-describe"] == "rtsp-503"


async def test_a_camera_that_sends_nothing_is_ill(short_clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("halfgateway.inspection.doctor.GROUP_PATIENCE_S", 0.2)
    async with camera_of_kind(ORDINARY, short_clip, Behaviour(stalled=True)) as camera:
        report = await examined(camera)
    assert faults(report) == {"rtsp-play": "no-media"}
    assert "aucun paquet" in doctor_text(report)


async def test_a_device_that_does_not_answer_is_pulled_from_where_it_was_known(short_clip: Clip) -> None:
    async with camera_of_kind(ORDINARY, short_clip) as camera:
        device = replace(device_of(camera), onvif_url="http://127.0.0.1:1/onvif/device_service")
        doctor = Doctor(device, {"main": camera.rtsp_url}, clock=SystemClock())
        report = await doctor.examine(profile=None, seconds=0.5)
    assert faults(report) == {"onvif-connect": "unreachable", **dict.fromkeys(STEPS[1:5])}
    assert "non essayé" in doctor_text(report)
