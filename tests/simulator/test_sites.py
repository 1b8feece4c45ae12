"""The simulated referential: identifiers that stay, plausible places, secrets that do not repeat."""

from __future__ import annotations

import os

import pytest

from camera_registry.cameras import Camera
from halfgateway.simulator import sites
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


def test_any_number_of_cameras_shares_six_clips() -> None:
    specs = [sites.clip_spec(index, identity.name) for index, identity in enumerate(IDENTITIES)]
    assert len(set(specs)) == 6
    assert [spec.title for spec in specs[:3]] == [identity.name for identity in IDENTITIES[:3]]


@pytest.mark.parametrize("cameras", [0, -1, sites.MAX_CAMERAS + 1])
def test_a_number_that_cannot_be_is_refused(cameras: int) -> None:
    with pytest.raises(ValueError, match="cameras can be simulated"):
        Simulator(cameras)
