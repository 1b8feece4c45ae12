"""The bodies of a simulated camera's ONVIF answers, as real ones write them (ONVIF Core, Media and Media2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from xml.sax.saxutils import escape

from halfgateway.simulator.clips import FPS, ClipSpec
from halfgateway.simulator.identity import CameraIdentity, DeviceIdentity

DEVICE: Final = "http://www.onvif.org/ver10/device/wsdl"
MEDIA: Final = "http://www.onvif.org/ver10/media/wsdl"
MEDIA2: Final = "http://www.onvif.org/ver20/media/wsdl"

_SOURCE: Final = "VideoSource_0"

_ENVELOPE: Final = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"'
    ' xmlns:tds="http://www.onvif.org/ver10/device/wsdl"'
    ' xmlns:trt="http://www.onvif.org/ver10/media/wsdl"'
    ' xmlns:tr2="http://www.onvif.org/ver20/media/wsdl"'
    ' xmlns:tt="http://www.onvif.org/ver10/schema"'
    "{error_namespace}><s:Body>{body}</s:Body></s:Envelope>"
)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where this camera says that it is found: its device and media services, and its snapshot."""

    device: str
    media: str
    media2: str
    snapshot: str


@dataclass(frozen=True, slots=True)
class OfferedProfile:
    """One of the profiles of a camera: which of them, what it shows and where, over RTSP."""

    number: int
    spec: ClipSpec
    url: str

    @property
    def token(self) -> str:
        """Its token, as real cameras write theirs."""
        return f"{self.number}_ProfileToken0"

    @property
    def name(self) -> str:
        """What the camera calls it."""
        return "subStream" if self.number else "mainStream"


def envelope(body: str, *, declares_errors: bool = True) -> bytes:
    """Return a whole answer; without ``declares_errors`` its faults have a prefix that nothing declares."""
    namespace = ' xmlns:ter="http://www.onvif.org/ver10/error"' if declares_errors else ""
    return _ENVELOPE.format(body=body, error_namespace=namespace).encode()


def fault(code: str, subcode: str, reason: str, *, declares_errors: bool = True) -> bytes:
    """Return a fault; ``code`` is Sender or Receiver, ``subcode`` one of ONVIF's (Core 5.11.2)."""
    return envelope(
        f"<s:Fault><s:Code><s:Value>s:{code}</s:Value><s:Subcode><s:Value>ter:{subcode}</s:Value></s:Subcode>"
        f'</s:Code><s:Reason><s:Text xml:lang="en">{escape(reason)}</s:Text></s:Reason></s:Fault>',
        declares_errors=declares_errors,
    )


def system_date_and_time(now: datetime, *, tells_utc: bool = True) -> str:
    """Answer GetSystemDateAndTime; ``now`` is in UTC. Without ``tells_utc`` only its kind and zone are told."""
    return (
        "<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime>"
        "<tt:DateTimeType>NTP</tt:DateTimeType><tt:DaylightSavings>false</tt:DaylightSavings>"
        "<tt:TimeZone><tt:TZ>CET-1CEST,M3.5.0,M10.5.0/3</tt:TZ></tt:TimeZone>"
        f"{_utc(now) if tells_utc else ''}</tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>"
    )


def _utc(now: datetime) -> str:
    return (
        f"<tt:UTCDateTime><tt:Time><tt:Hour>{now.hour}</tt:Hour><tt:Minute>{now.minute}</tt:Minute>"
        f"<tt:Second>{now.second}</tt:Second></tt:Time><tt:Date><tt:Year>{now.year}</tt:Year>"
        f"<tt:Month>{now.month}</tt:Month><tt:Day>{now.day}</tt:Day></tt:Date></tt:UTCDateTime>"
    )


def services(addresses: Addresses) -> str:
    """Answer GetServices."""
    entries = ((DEVICE, addresses.device), (MEDIA, addresses.media), (MEDIA2, addresses.media2))
    listed = "".join(
        f"<tds:Service><tds:Namespace>{namespace}</tds:Namespace><tds:XAddr>{escape(url)}</tds:XAddr>"
        "<tds:Version><tt:Major>2</tt:Major><tt:Minor>60</tt:Minor></tds:Version></tds:Service>"
        for namespace, url in entries
    )
    return f"<tds:GetServicesResponse>{listed}</tds:GetServicesResponse>"


def capabilities(addresses: Addresses) -> str:
    """Answer GetCapabilities: Media2 has no place in it."""
    return (
        "<tds:GetCapabilitiesResponse><tds:Capabilities>"
        f"<tt:Device><tt:XAddr>{escape(addresses.device)}</tt:XAddr></tt:Device>"
        f"<tt:Media><tt:XAddr>{escape(addresses.media)}</tt:XAddr><tt:StreamingCapabilities>"
        "<tt:RTPMulticast>false</tt:RTPMulticast><tt:RTP_TCP>false</tt:RTP_TCP>"
        "<tt:RTP_RTSP_TCP>true</tt:RTP_RTSP_TCP></tt:StreamingCapabilities></tt:Media>"
        "</tds:Capabilities></tds:GetCapabilitiesResponse>"
    )


def device_information(identity: DeviceIdentity) -> str:
    """Answer GetDeviceInformation."""
    return (
        "<tds:GetDeviceInformationResponse>"
        f"<tds:Manufacturer>{escape(identity.manufacturer)}</tds:Manufacturer>"
        f"<tds:Model>{escape(identity.model)}</tds:Model>"
        "<tds:FirmwareVersion>5.7.21</tds:FirmwareVersion>"
        f"<tds:SerialNumber>{escape(identity.serial)}</tds:SerialNumber>"
        "<tds:HardwareId>88</tds:HardwareId></tds:GetDeviceInformationResponse>"
    )


def scopes(identity: CameraIdentity) -> str:
    """Answer GetScopes, without any claim of conformance."""
    names = (
        "onvif://www.onvif.org/type/video_encoder",
        f"onvif://www.onvif.org/hardware/{identity.model}",
        f"onvif://www.onvif.org/name/{identity.serial}",
    )
    listed = "".join(
        "<tds:Scopes><tt:ScopeDef>Fixed</tt:ScopeDef>"
        f"<tt:ScopeItem>{escape(name.replace(' ', '%20'))}</tt:ScopeItem></tds:Scopes>"
        for name in names
    )
    return f"<tds:GetScopesResponse>{listed}</tds:GetScopesResponse>"


def hostname(identity: CameraIdentity) -> str:
    """Answer GetHostname."""
    return (
        "<tds:GetHostnameResponse><tds:HostnameInformation><tt:FromDHCP>false</tt:FromDHCP>"
        f"<tt:Name>{escape(identity.serial.lower())}</tt:Name></tds:HostnameInformation></tds:GetHostnameResponse>"
    )


def network_interfaces(identity: CameraIdentity) -> str:
    """Answer GetNetworkInterfaces with the address that the camera believes to have."""
    return (
        '<tds:GetNetworkInterfacesResponse><tds:NetworkInterfaces token="eth0"><tt:Enabled>true</tt:Enabled>'
        f"<tt:Info><tt:Name>eth0</tt:Name><tt:HwAddress>{identity.mac_address}</tt:HwAddress>"
        "<tt:MTU>1500</tt:MTU></tt:Info><tt:IPv4><tt:Enabled>true</tt:Enabled><tt:Config><tt:Manual>"
        f"<tt:Address>{identity.internal_address}</tt:Address><tt:PrefixLength>24</tt:PrefixLength>"
        "</tt:Manual><tt:DHCP>false</tt:DHCP></tt:Config></tt:IPv4></tds:NetworkInterfaces>"
        "</tds:GetNetworkInterfacesResponse>"
    )


def media1_profiles(profiles: Sequence[OfferedProfile]) -> str:
    """Answer Media1's GetProfiles; a profile in H.265, which Media1 cannot name, comes without its encoder."""
    return f"<trt:GetProfilesResponse>{''.join(map(_media1_profile, profiles))}</trt:GetProfilesResponse>"


def _media1_profile(profile: OfferedProfile) -> str:
    spec = profile.spec
    encoder = f"<tt:VideoEncoderConfiguration {_encoder1(profile)}</tt:VideoEncoderConfiguration>"
    return (
        f'<trt:Profiles token="{profile.token}" fixed="true"><tt:Name>{profile.name}</tt:Name>'
        f'<tt:VideoSourceConfiguration token="{_SOURCE}"><tt:Name>source</tt:Name><tt:UseCount>1</tt:UseCount>'
        f"<tt:SourceToken>{_SOURCE}</tt:SourceToken>"
        f'<tt:Bounds x="0" y="0" width="{spec.width}" height="{spec.height}"/></tt:VideoSourceConfiguration>'
        f"{encoder if spec.codec == 'h264' else ''}</trt:Profiles>"
    )


def video_sources(spec: ClipSpec) -> str:
    """Answer GetVideoSources; its token is that of the profile's source."""
    return (
        f'<trt:GetVideoSourcesResponse><trt:VideoSources token="{_SOURCE}">'
        f"<tt:Framerate>{FPS}</tt:Framerate><tt:Resolution><tt:Width>{spec.width}</tt:Width>"
        f"<tt:Height>{spec.height}</tt:Height></tt:Resolution></trt:VideoSources></trt:GetVideoSourcesResponse>"
    )


def encoder_configurations(profiles: Sequence[OfferedProfile], *, name: str) -> str:
    """Answer Media1's GetVideoEncoderConfiguration or GetVideoEncoderConfigurations, as ``name`` says."""
    element, told = ("Configurations", profiles) if name.endswith("s") else ("Configuration", profiles[:1])
    named = [profile for profile in told if profile.spec.codec == "h264"]
    listed = "".join(f"<trt:{element} {_encoder1(profile)}</trt:{element}>" for profile in named)
    return f"<trt:{name}Response>{listed}</trt:{name}Response>"


def done(namespace: str, name: str) -> str:
    """Answer an operation that tells nothing."""
    return f'<q:{name}Response xmlns:q="{namespace}"/>'


def media1_uri(name: str, url: str) -> str:
    """Answer Media1's GetStreamUri or GetSnapshotUri, as ``name`` says."""
    return (
        f"<trt:{name}Response><trt:MediaUri><tt:Uri>{escape(url)}</tt:Uri>"
        "<tt:InvalidAfterConnect>false</tt:InvalidAfterConnect><tt:InvalidAfterReboot>false</tt:InvalidAfterReboot>"
        f"<tt:Timeout>PT0S</tt:Timeout></trt:MediaUri></trt:{name}Response>"
    )


def media2_profiles(profiles: Sequence[OfferedProfile]) -> str:
    """Answer Media2's GetProfiles with the encoder, as asked by Type."""
    return f"<tr2:GetProfilesResponse>{''.join(map(_media2_profile, profiles))}</tr2:GetProfilesResponse>"


def _media2_profile(profile: OfferedProfile) -> str:
    spec = profile.spec
    return (
        f'<tr2:Profiles token="{profile.token}" fixed="true"><tr2:Name>{profile.name}</tr2:Name>'
        f'<tr2:Configurations><tr2:VideoEncoder token="VideoEncoder_{profile.number}"'
        f' GovLength="{spec.gop_frames}" Profile="{_PROFILES[spec.codec]}"><tt:Name>encoder</tt:Name>'
        f"<tt:UseCount>1</tt:UseCount><tt:Encoding>{spec.codec.upper()}</tt:Encoding>"
        f"<tt:Resolution><tt:Width>{spec.width}</tt:Width><tt:Height>{spec.height}</tt:Height></tt:Resolution>"
        f"<tt:RateControl><tt:FrameRateLimit>{FPS}</tt:FrameRateLimit>"
        f"<tt:BitrateLimit>{spec.bit_rate // 1000}</tt:BitrateLimit></tt:RateControl><tt:Quality>5</tt:Quality>"
        "</tr2:VideoEncoder></tr2:Configurations></tr2:Profiles>"
    )


def media2_uri(url: str) -> str:
    """Answer Media2's GetStreamUri."""
    return f"<tr2:GetStreamUriResponse><tr2:Uri>{escape(url)}</tr2:Uri></tr2:GetStreamUriResponse>"


_PROFILES: Final[Mapping[str, str]] = {"h264": "Baseline", "h265": "Main"}


def _encoder1(profile: OfferedProfile) -> str:
    """Return attributes and content of Media1's VideoEncoderConfiguration, in H.264."""
    spec = profile.spec
    return (
        f'token="VideoEncoder_{profile.number}"><tt:Name>encoder</tt:Name><tt:UseCount>1</tt:UseCount><tt:Encoding>H264</tt:Encoding>'
        f"<tt:Resolution><tt:Width>{spec.width}</tt:Width><tt:Height>{spec.height}</tt:Height></tt:Resolution>"
        f"<tt:Quality>5</tt:Quality><tt:RateControl><tt:FrameRateLimit>{FPS}</tt:FrameRateLimit>"
        "<tt:EncodingInterval>1</tt:EncodingInterval>"
        f"<tt:BitrateLimit>{spec.bit_rate // 1000}</tt:BitrateLimit></tt:RateControl>"
        f"<tt:H264><tt:GovLength>{spec.gop_frames}</tt:GovLength><tt:H264Profile>Baseline</tt:H264Profile></tt:H264>"
        "<tt:Multicast><tt:Address><tt:Type>IPv4</tt:Type><tt:IPv4Address>0.0.0.0</tt:IPv4Address></tt:Address>"
        "<tt:Port>0</tt:Port><tt:TTL>1</tt:TTL><tt:AutoStart>false</tt:AutoStart></tt:Multicast>"
        "<tt:SessionTimeout>PT60S</tt:SessionTimeout>"
    )
