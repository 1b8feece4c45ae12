"""Every reader is told of what time its pictures are, by the camera's clock where it tells it (RFC 3550, 6.4)."""

from __future__ import annotations

import pytest

from halfgateway.protocol.rtcp import SenderReport, ntp_timestamp, parse_compound, unix_ns
from halfgateway.protocol.rtcp import sender_report as compound
from halfgateway.relay.chunk import RTCP_CHANNEL
from halfgateway.relay.reports import FIRST_REPORT_S, REPORT_INTERVAL_S, Reports
from tests.relay.packets import NON_IDR, chunk, rtp

SSRC = 0x11223344
WALL_NS = 1_795_000_000_000_000_000


class Stage:
    """A source's reports, and a clock that the test turns."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.reports = Reports("cam-1", wall_ns=lambda: WALL_NS + round(self.now_s * 1e9))
        self.reports.connected(90_000)

    def picture(self, *, keyframe: bool = False) -> SenderReport | None:
        """The report that follows a picture of now, if one does."""
        came = chunk((0, rtp(1, round(self.now_s * 90_000), NON_IDR)))
        came.keyframe = 0 if keyframe else None
        sent = self.reports.apply(came, SSRC, self.now_s)
        assert sent.data.startswith(came.data)
        assert sent.keyframe == came.keyframe
        added = [(start, end) for channel, start, end in sent.batch.frames if channel == RTCP_CHANNEL]
        if not added:
            return None
        ((start, end),) = added
        report, _ = parse_compound(sent.data[start + 4 : end])
        assert isinstance(report, SenderReport)
        assert end == len(sent.data)
        return report

    def camera_reports(self, ahead_s: float) -> None:
        ntp = ntp_timestamp(WALL_NS + round((self.now_s + ahead_s) * 1e9))
        report = SenderReport(SSRC, ntp, round(self.now_s * 90_000), 9, 99)
        came = chunk((1, compound(report, "cam-1")))
        assert self.reports.apply(came, SSRC, self.now_s) is came

    def ahead_s(self, report: SenderReport | None) -> float:
        """How far a report's time of its picture is ahead of when that came."""
        assert report is not None
        told_ns = unix_ns(report.ntp_timestamp, WALL_NS)
        return (told_ns - WALL_NS) / 1e9 - report.rtp_timestamp / 90_000


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_without_the_cameras_we_report_within_a_second_and_then_every_five(stage: Stage) -> None:  # row 53
    reported = []
    for tick in range(300):
        stage.now_s = tick / 25
        if stage.picture() is not None:
            reported.append(stage.now_s)
    assert reported == pytest.approx(
        [FIRST_REPORT_S, FIRST_REPORT_S + REPORT_INTERVAL_S, FIRST_REPORT_S + 2 * REPORT_INTERVAL_S], abs=0.05
    )
    assert reported[0] < 1.0


def test_a_camera_that_reports_is_left_to_it(stage: Stage) -> None:
    stage.picture()
    stage.camera_reports(ahead_s=-7200)
    for tick in range(1, 500):
        stage.now_s = tick / 25
        assert stage.picture() is None
    assert stage.reports.clock_offset_s == pytest.approx(-7200)


def test_who_joins_is_told_at_once_and_again_where_it_begins_by_the_cameras_clock(stage: Stage) -> None:  # T14
    stage.picture()
    stage.camera_reports(ahead_s=5.5)
    stage.now_s = 2.0
    stage.reports.joined()
    assert stage.ahead_s(stage.picture()) == pytest.approx(5.5, abs=1e-4)
    stage.now_s = 2.04
    assert stage.picture() is None
    stage.now_s = 3.0
    assert stage.ahead_s(stage.picture(keyframe=True)) == pytest.approx(5.5, abs=1e-4)
    stage.now_s = 4.0
    assert stage.picture(keyframe=True) is None


def test_a_camera_that_comes_back_keeps_its_clock_until_it_reports_again(stage: Stage) -> None:
    stage.picture()
    stage.camera_reports(ahead_s=3600)
    stage.reports.connected(90_000)
    stage.now_s = 10.0
    assert stage.picture() is None
    stage.now_s = 10.0 + FIRST_REPORT_S
    assert stage.ahead_s(stage.picture()) == pytest.approx(3600, abs=1e-4)


def test_without_a_packet_there_is_nothing_to_report(stage: Stage) -> None:
    stage.reports.joined()
    nothing, rubbish = chunk(), chunk((1, b"\x80\xc8\x00\x09"), (1, b""))
    assert stage.reports.apply(nothing, None, 9.0) is nothing
    assert stage.reports.apply(rubbish, SSRC, 9.0) is rubbish
    assert stage.reports.clock_offset_s is None
