"""The simulated referential: cameras on public places of Yvelines and Hauts-de-Seine, of as many kinds.

The places are real, the cameras are not. Coordinates are WGS 84, good to some tens of metres.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from halfgateway.protocol.digest import Algorithm
from halfgateway.simulator.behaviour import Behaviour, LowerTransport, OnvifAuth
from halfgateway.simulator.clips import FPS, ClipSpec
from halfgateway.simulator.identity import CameraIdentity

MAX_CAMERAS: Final = 1000
"""Cameras that one simulator plays: two ports and an internal address are given to each; more are refused."""

USERNAME: Final = "passerelle"

_ADDRESSES_A_NETWORK: Final = 200


@dataclass(frozen=True, slots=True)
class _Site:
    insee: str
    commune: str
    name: str
    latitude: float
    longitude: float


_SITES: Final = (
    _Site("78646", "Versailles", "Place d'Armes", 48.8030, 2.1262),
    _Site("92072", "Sèvres", "Pont de Sèvres", 48.8268, 2.2226),
    _Site("92050", "Nanterre", "Place Nelson-Mandela", 48.8960, 2.2232),
    _Site("78551", "Saint-Germain-en-Laye", "Place Charles-de-Gaulle", 48.8977, 2.0946),
    _Site("92012", "Boulogne-Billancourt", "Place Marcel-Sembat", 48.8334, 2.2437),
    _Site("78498", "Poissy", "Place de la République", 48.9296, 2.0448),
    _Site("92062", "Puteaux", "Esplanade de La Défense", 48.8915, 2.2410),
    _Site("78361", "Mantes-la-Jolie", "Place Saint-Maclou", 48.9903, 1.7192),
    _Site("92040", "Issy-les-Moulineaux", "Place de l'Hôtel-de-Ville", 48.8240, 2.2733),
    _Site("78517", "Rambouillet", "Place de la Libération", 48.6436, 1.8301),
    _Site("92063", "Rueil-Malmaison", "Place de l'Église", 48.8768, 2.1806),
    _Site("78586", "Sartrouville", "Place des Fusillés", 48.9374, 2.1587),
)


@dataclass(frozen=True, slots=True)
class _Kind:
    """A sort of camera: its device, the clips it plays, the habits of its maker and its own misfortunes."""

    manufacturer: str
    model: str
    stream_path: str
    clip: ClipSpec
    habits: Callable[[], Behaviour] = Behaviour
    sub_stream_path: str | None = None
    sub_clip: ClipSpec | None = None


_SHARED_TITLE: Final = "Caméra simulée"

_HD: Final = ClipSpec(_SHARED_TITLE, "h264", 1920, 1080, 3_000_000, gop_frames=FPS, frames=4 * FPS)
_LONG_GOP: Final = ClipSpec(_SHARED_TITLE, "h265", 1280, 720, 1_200_000, gop_frames=10 * FPS, frames=10 * FPS)
_4K: Final = ClipSpec(_SHARED_TITLE, "h264", 3840, 2160, 5_000_000, gop_frames=FPS, frames=2 * FPS)
_SMALL: Final = ClipSpec(_SHARED_TITLE, "h264", 640, 360, 400_000)

_SHA256_ONLY: Final = (Algorithm.SHA256,)
_BOTH_DIGESTS: Final = (Algorithm.SHA256, Algorithm.MD5)
_BY_DIGEST: Final = frozenset({OnvifAuth.HTTP_DIGEST})
_BY_TOKEN: Final = frozenset({OnvifAuth.USERNAME_TOKEN})
_UDP_ONLY: Final = frozenset({LowerTransport.UDP})

DROP_EVERY_S: Final = 45.0
"""How often the connections of the camera that drops break, in seconds: long enough for a reader to settle."""

WRONG_CLOCK_S: Final = -3 * 3600.0
"""How far the camera with a wrong clock is off, in seconds: further than any device lets a signature be."""

_KINDS: Final = (
    _Kind(
        "Vigie",
        "V720",
        "/axis-media/media.amp",
        ClipSpec(_SHARED_TITLE, "h264", 1280, 720, 2_500_000),
    ),
    _Kind(
        "Lynx",
        "L1080",
        "/cam/realmonitor?channel=1&subtype=0",
        ClipSpec(_SHARED_TITLE, "h265", 1920, 1080, 2_200_000),
        lambda: Behaviour(digest=_BOTH_DIGESTS, onvif_auth=_BY_DIGEST),
    ),
    _Kind(
        "Belvédère",
        "B720A",
        "/Streaming/Channels/101",
        ClipSpec(_SHARED_TITLE, "h264", 1280, 720, 2_500_000, audio=True),
        lambda: Behaviour(onvif_auth=_BY_TOKEN),
    ),
    _Kind("Rempart", "R256", "/live/ch0", _HD, lambda: Behaviour(digest=_SHA256_ONLY, onvif_auth=_BY_DIGEST)),
    _Kind("Lynx", "L720X", "/cam/realmonitor?channel=1&subtype=0", _LONG_GOP),
    _Kind("Vigie", "V2160", "/axis-media/media.amp?resolution=3840x2160", _4K),
    _Kind("Belvédère", "B1080", "/Streaming/Channels/101", _HD, lambda: Behaviour(drop_every_s=DROP_EVERY_S)),
    _Kind(
        "Guet",
        "G720",
        "/h265/main",
        _LONG_GOP,
        lambda: Behaviour(clock_offset_s=WRONG_CLOCK_S, onvif_auth=_BY_TOKEN),
    ),
    _Kind(
        "Lynx",
        "L1080S",
        "/cam/realmonitor?channel=1&subtype=0",
        _HD,
        lambda: Behaviour(digest=_BOTH_DIGESTS),
        sub_stream_path="/cam/realmonitor?channel=1&subtype=1",
        sub_clip=_SMALL,
    ),
    _Kind("Vigie", "V1080", "/onvif-media/media.amp", _HD, lambda: Behaviour(announces_internal_address=True)),
    _Kind("Guet", "G720S", "/11", _LONG_GOP, lambda: Behaviour(odd_soap=True, onvif_auth=_BY_TOKEN)),
    _Kind("Rempart", "R1080U", "/live/ch0", _HD, lambda: Behaviour(transports=_UDP_ONLY, answers_keep_alive=False)),
)

_NAMED: Final = 3
"""The first cameras show their own names; all others share the clips of their kind."""

_ORDINARY: Final = (_KINDS[3], _KINDS[4])
"""What every camera past one of each kind is: a large house is of ordinary cameras."""


def identity(index: int, *, random_bytes: Callable[[int], bytes]) -> CameraIdentity:
    """Return camera number ``index`` (from 0); its password is new each time, everything else always the same."""
    site, kind = _SITES[index % len(_SITES)], _kind(index)
    rank = index // len(_SITES) + 1
    network, host = divmod(index, _ADDRESSES_A_NETWORK)
    return CameraIdentity(
        id=f"syn-{site.insee}-{rank:02d}",
        name=site.name if rank == 1 else f"{site.name} {rank}",
        site=site.name,
        commune=site.commune,
        latitude=site.latitude,
        longitude=site.longitude,
        manufacturer=kind.manufacturer,
        model=kind.model,
        serial=f"{kind.model}-{index + 1:05d}",
        mac_address=f"02:00:5e:78:{index >> 8 & 0xFF:02x}:{index & 0xFF:02x}",
        internal_address=f"10.78.{network}.{host + 20}",
        stream_path=kind.stream_path,
        sub_stream_path=kind.sub_stream_path,
        username=USERNAME,
        # Characters that must be percent-encoded in a URL, as passwords of real sites hold.
        password="p@ss:w0rd/" + base64.urlsafe_b64encode(random_bytes(9)).decode(),
    )


def clip_specs(index: int, name: str) -> tuple[ClipSpec, ...]:
    """Return the clips of camera number ``index``: that of its best profile, then that of the smaller, if any.

    The first cameras show their names; of the others all of a kind share theirs, whatever their number.
    """
    kind = _kind(index)
    best = replace(kind.clip, title=name) if index < _NAMED else kind.clip
    return (best,) if kind.sub_clip is None else (best, kind.sub_clip)


def behaviour(index: int) -> Behaviour:
    """Return the habits of camera number ``index``, to be changed at will."""
    return _kind(index).habits()


def _kind(index: int) -> _Kind:
    return _KINDS[index] if index < len(_KINDS) else _ORDINARY[index % len(_ORDINARY)]
