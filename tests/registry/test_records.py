"""Records of cameras: what is public cannot lead to the device, and what leads there never shows its secrets."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, asdict, replace

import pytest

from camera_registry.cameras import Camera, CameraState, Profile
from camera_registry.connections import CameraRecord, Connection, Credentials, StreamSource

PASSWORD = "p@ss:w0rd/é"


def test_a_camera_holds_no_way_to_its_device(record: CameraRecord) -> None:  # C16
    shown = repr(record.camera) + str(asdict(record.camera))
    for secret in ("10.78.1.20", "passerelle", PASSWORD, "rtsp:", "V-1"):
        assert secret not in shown


def test_no_representation_shows_a_password(record: CameraRecord) -> None:  # C16
    source = record.source("main")
    for thing in (record, record.connection, record.connection.credentials, source):
        assert PASSWORD not in repr(thing)
        assert PASSWORD not in str(thing)
    assert source is not None
    assert source.credentials == record.connection.credentials


@pytest.mark.parametrize("url", ["rtsp://user:secret@10.78.1.20/1", "rtsp://user@10.78.1.20/1", "rtsp://@10.78.1.20/1"])
def test_an_address_with_credentials_is_refused(url: str) -> None:  # C16
    with pytest.raises(ValueError, match="credentials") as refused:
        StreamSource(camera="a", profile="main", url=url, credentials=None)
    assert "secret" not in str(refused.value)
    with pytest.raises(ValueError, match="credentials"):
        Connection(onvif_url="http://10.78.1.20/", streams={"main": url})
    with pytest.raises(ValueError, match="credentials"):
        Connection(onvif_url=url.replace("rtsp", "http"))


@pytest.mark.parametrize("url", ["", "10.78.1.20", "file:///etc/passwd", "http://", "gopher://10.78.1.20/"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        Connection(onvif_url=url)


@pytest.mark.parametrize("text", ["a\x00b", "a\nb"])
def test_credentials_that_nothing_could_carry_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="control"):
        Credentials(username=text, password="x")
    with pytest.raises(ValueError, match="control"):
        Credentials(username="x", password=text)


@pytest.mark.parametrize("identifier", ["", "a/b", "-a", "a b", "é", "a" * 65, "../x", "a\n"])
def test_an_identifier_that_cannot_stand_in_a_link_is_refused(record: CameraRecord, identifier: str) -> None:  # C06
    with pytest.raises(ValueError, match="identifier"):
        replace(record.camera, id=identifier)


@pytest.mark.parametrize(("latitude", "longitude"), [(91.0, 2.0), (48.0, 181.0), (float("nan"), 2.0)])
def test_coordinates_that_are_none_are_refused(record: CameraRecord, latitude: float, longitude: float) -> None:
    with pytest.raises(ValueError, match="coordinates"):
        replace(record.camera, latitude=latitude, longitude=longitude)


def test_records_do_not_change(record: CameraRecord) -> None:
    with pytest.raises(FrozenInstanceError):
        record.camera.state = CameraState.UNAVAILABLE  # type: ignore[misc]  # the refusal is what is shown
    with pytest.raises(TypeError):
        record.connection.streams["main"] = "rtsp://elsewhere/"  # type: ignore[index]  # likewise


def test_profiles_are_found_by_name_and_the_best_without(record: CameraRecord) -> None:
    camera = record.camera
    assert camera.profile(None) == camera.profile("") == camera.profiles[0]
    assert camera.profile("sub") == camera.profiles[1]
    assert camera.profile("p3") is None
    assert replace(camera, profiles=()).profile(None) is None
    assert record.source(None) == record.source("main")
    assert record.source("p3") is None


def test_a_profile_without_an_address_has_no_source(record: CameraRecord) -> None:
    extra = Profile(id="p3", codec="JPEG", width=0, height=0, fps=0)
    camera: Camera = replace(record.camera, profiles=(*record.camera.profiles, extra))
    assert CameraRecord(camera, record.connection).source("p3") is None


def test_errors_can_be_told_apart_without_saying_where() -> None:  # C16
    import camera_registry.errors as declared

    kinds = [kind for kind in vars(declared).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len({kind.cause for kind in kinds if issubclass(kind, declared.RegistryError)}) == len(kinds)
    error = declared.Locked("words")
    assert pickle.loads(pickle.dumps(error)).cause == "locked"
