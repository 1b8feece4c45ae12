"""The simulated referential: cameras on public places of Yvelines and Hauts-de-Seine.

The places are real, the cameras are not. Coordinates are WGS 84, good to some tens of metres.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from halfgateway.protocol.digest import Algorithm
from halfgateway.simulator.behaviour import Behaviour, OnvifAuth
from halfgateway.simulator.clips import ClipSpec
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
    """A sort of camera: its device, the clip it plays and the habits of its maker."""

    manufacturer: str
    model: str
    stream_path: str
    clip: ClipSpec
    digest: tuple[Algorithm, ...]
    onvif_auth: frozenset[OnvifAuth]


_SHARED_TITLE: Final = "Caméra simulée"

_KINDS: Final = (
    _Kind(
        "Vigie",
        "V720",
        "/axis-media/media.amp",
        ClipSpec(_SHARED_TITLE, "h264", 1280, 720, 2_500_000),
        (Algorithm.MD5,),
        frozenset(OnvifAuth),
    ),
    _Kind(
        "Lynx",
        "L1080",
        "/cam/realmonitor?channel=1&subtype=0",
        ClipSpec(_SHARED_TITLE, "h265", 1920, 1080, 2_200_000),
        (Algorithm.SHA256, Algorithm.MD5),
        frozenset({OnvifAuth.HTTP_DIGEST}),
    ),
    _Kind(
        "Belvédère",
        "B720A",
        "/Streaming/Channels/101",
        ClipSpec(_SHARED_TITLE, "h264", 1280, 720, 2_500_000, audio=True),
        (Algorithm.MD5,),
        frozenset({OnvifAuth.USERNAME_TOKEN}),
    ),
)


def identity(index: int, *, random_bytes: Callable[[int], bytes]) -> CameraIdentity:
    """Return camera number ``index`` (from 0); its password is new each time, everything else always the same."""
    site, kind = _SITES[index % len(_SITES)], _KINDS[index % len(_KINDS)]
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
        username=USERNAME,
        # Characters that must be percent-encoded in a URL, as passwords of real sites hold.
        password="p@ss:w0rd/" + base64.urlsafe_b64encode(random_bytes(9)).decode(),
    )


def clip_spec(index: int, name: str) -> ClipSpec:
    """Return the clip of camera number ``index``.

    The first of each kind shows its name; the others of a kind share one clip, whatever their number.
    """
    clip = _KINDS[index % len(_KINDS)].clip
    if index >= len(_KINDS):
        return clip
    return ClipSpec(name, clip.codec, clip.width, clip.height, clip.bit_rate, clip.audio)


def behaviour(index: int) -> Behaviour:
    """Return the habits of camera number ``index``."""
    kind = _KINDS[index % len(_KINDS)]
    return Behaviour(digest=kind.digest, onvif_auth=kind.onvif_auth)
