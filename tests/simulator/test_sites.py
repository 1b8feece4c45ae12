"""The simulated referential: identifiers that stay, plausible places, secrets that do not repeat."""

from __future__ import annotations

import os

import pytest

from camera_registry.cameras import Camera
from halfgateway.protocol.digest import Algorithm
from halfgateway.simulator import sites
from halfgateway.simulator.behaviour import LowerTransport
from halfgateway.simulator.simulator import Simulator

IDENTITIES = [sites.identity(index, random_bytes=os.urandom) for index in range(sites.MAX_CAMERAS)]


def test_each_camera_is_the_same_at_every_start_but_its_password() -> None:  # C06
    for index in (0, 1, 2, 500):
        again = sites.identity(index, random_bytes=os.urandom)
        assert again.password != IDENTITIES[index].password
        assert (again.id, again.serial, again.name) == (
            IDENTITIES[index].id,
            IDENTITIES[index].serial,
            IDENTITIES[index].name,
        )


def test_no_two_cameras_share_what_is_theirs() -> None:
    for attribute in ("id", "serial", "mac_address", "internal_address", "password"):
        assert len({getattr(identity, attribute) for identity in IDENTITIES}) == sites.MAX_CAMERAS


def test_they_stand_in_yvelines_or_hauts_de_seine_and_may_be_cameras_of_the_registry() -> None:
    for identity in IDENTITIES[:12]:
        assert 48.4 < identity.latitude < 49.1
        assert 1.4 < identity.longitude < 2.4
        assert identity.id[4:6] in {"78", "92"}
        Camera(
            id=identity.id,
            name=identity.name,
            site=identity.site,
            commune=identity.commune,
            latitude=identity.latitude,
            longitude=identity.longitude,
        )


def test_a_password_must_be_percent_encoded_and_is_not_shown() -> None:  # C16
    identity = IDENTITIES[0]
    assert "@" in identity.password
    assert ":" in identity.password
    assert identity.password not in repr(identity)


def test_any_number_of_cameras_shares_seven_clips() -> None:
    specs = [sites.clip_specs(index, identity.name) for index, identity in enumerate(IDENTITIES)]
    assert len({spec for of_camera in specs for spec in of_camera}) == 7
    assert [best.title for best, *_ in specs[:3]] == [identity.name for identity in IDENTITIES[:3]]


def test_twelve_cameras_are_of_every_kind() -> None:
    specs = [spec for index in range(12) for spec in sites.clip_specs(index, "nom")]
    habits = [sites.behaviour(index) for index in range(12)]
    assert {spec.codec for spec in specs} == {"h264", "h265"}
    assert {spec.height for spec in specs} == {360, 720, 1080, 2160}
    assert {spec.gop_frames for spec in specs} == {25, 50, 250}
    assert all(spec.frames % spec.gop_frames == 0 for spec in specs)
    assert any(spec.audio for spec in specs)
    assert any(each.digest == (Algorithm.SHA256,) for each in habits)
    assert sum(each.drop_every_s is not None for each in habits) == 1
    assert sum(abs(each.clock_offset_s) > 3600 for each in habits) == 1
    assert sum(each.announces_internal_address for each in habits) == 1
    assert sum(each.odd_soap for each in habits) == 1
    assert sum(each.transports == {LowerTransport.UDP} for each in habits) == 1
    assert sum(not each.answers_keep_alive for each in habits) == 1
    assert sum(identity.sub_stream_path is not None for identity in IDENTITIES[:12]) == 1


def test_no_two_cameras_share_their_knobs() -> None:
    sites.behaviour(3).stalled = True
    assert not sites.behaviour(3).stalled


@pytest.mark.parametrize("cameras", [0, -1, sites.MAX_CAMERAS + 1])
def test_a_number_that_cannot_be_is_refused(cameras: int) -> None:
    with pytest.raises(ValueError, match="cameras can be simulated"):
        Simulator(cameras)
