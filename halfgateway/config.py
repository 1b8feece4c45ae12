"""The configuration: one TOML file, read once, validated whole, frozen.

Secrets are not in it: they are files below ``node.data`` (or named by it), made by ``halfgateway`` itself where
that is right. Every fault is listed, none is guessed away.
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from halfgateway.config_exports import ExportsSection
from halfgateway.config_incidents import LOST_BEATS, IncidentsSection, RestorationSection
from halfgateway.config_life import AnnexesSection, EquipmentSection
from halfgateway.config_ops import (
    MAX_CONTACTS,
    ContactSection,
    MailSection,
    OnCallSection,
    mail_files,
    strangers_on_call,
)
from halfgateway.config_recorder import RecordingProcessSection
from halfgateway.config_recordings import RecorderSection, RecordingsSection
from halfgateway.config_terms import (
    AssertionSection,
    ConventionSection,
    DegradedModeSection,
    IdleRuleSection,
    LineSection,
    MachineSection,
    RetentionSection,
    SiteSection,
    TimingsSection,
)
from halfgateway.control.heartbeat import LONGEST_PERIOD_S
from halfgateway.downstream.transports import UDP_MTU_BYTES, UdpService
from halfgateway.errors import HalfGatewayError
from halfgateway.folder import DataFolder
from halfgateway.net.datagrams import ANY_PORTS
from halfgateway.net.tls import HANDSHAKE_TIMEOUT_S
from halfgateway.sections import Name, OnvifUrl, Section, Shown, TraceSection
from halfgateway.siem.settings import SiemSection

OFF = "off"
"""What a file says of a port on which nothing is to listen: TOML has no null. ``false`` says the same."""


def _none_if_off(port: object) -> object:
    if port == OFF or port is False:
        return None
    if port is True:
        raise ValueError(f'a number from 0 to 65535 is wanted, or "{OFF}"')
    return port


Port = Annotated[Annotated[int, Field(ge=0, le=65535)] | None, BeforeValidator(_none_if_off)]
UdpPort = Annotated[int, Field(ge=1024, le=65535)]

SMALLEST_MTU_BYTES = 576
"""What every IPv4 host takes (RFC 791); no camera's packets fit, so all readers are sent to TCP."""

LARGEST_MTU_BYTES = 9216
"""The largest Ethernet frames in use."""


def _balancers(network: object) -> IPv4Network | IPv6Network:
    read = ip_network(str(network))
    if read.prefixlen == 0:
        raise ValueError("a balancer is wanted, not everybody: any address could be claimed")
    return read


_AUTHORITY = r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?"
"""A name or an address, and perhaps a port (RFC 3986 section 3.2)."""


class ConfigurationError(HalfGatewayError):
    """The configuration cannot be used; ``faults`` lists everything that is wrong with it."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class NodeSection(Section):
    """This node: its name in the trace, and where it keeps what is its own."""

    id: Name = "node-1"
    data: Path


class ListenSection(Section):
    """Where this node listens. Port 0 is any free one; None (``"off"`` in a file) is no listener.

    ``udp`` lets readers over plain RTSP have their packets as datagrams: from ``udp_ports``, first and last, where a
    firewall wants a range, and none larger than ``udp_mtu_bytes``, the IP header included.

    ``rtsp_over_http`` lets RTSP be tunnelled through HTTP on the RTSP port, and through HTTPS on the RTSPS port.

    ``proxies`` are the balancers that stand before this node: each connection of theirs begins with a PROXY header.
    ``public_rtsp`` and ``public_rtsps`` are what tickets name where that is not this node itself.
    """

    host: str = "127.0.0.1"
    http_port: Port = 8080
    https_port: Port = 8443
    rtsp_port: Port = None
    rtsps_port: Port = 8322
    rtsp_over_http: bool = False
    full_api_on_http: bool = False
    udp: bool = True
    udp_ports: tuple[UdpPort, UdpPort] | None = None
    udp_mtu_bytes: Annotated[int, Field(ge=SMALLEST_MTU_BYTES, le=LARGEST_MTU_BYTES)] = UDP_MTU_BYTES
    proxies: tuple[Annotated[IPv4Network | IPv6Network, BeforeValidator(_balancers)], ...] = ()
    public_rtsp: Annotated[str, Field(pattern=rf"^rtsp://{_AUTHORITY}$")] | None = None
    public_rtsps: Annotated[str, Field(pattern=rf"^rtsps://{_AUTHORITY}$")] | None = None

    @field_validator("udp_ports")
    @classmethod
    def _holds_a_pair(cls, ports: tuple[int, int] | None) -> tuple[int, int] | None:
        if ports is not None and ports[0] + ports[0] % 2 + 1 > ports[1]:
            raise ValueError("an even port and the next are wanted: a stream takes both")
        return ports

    def udp_service(self) -> UdpService | None:
        """How readers are served over UDP, if they are."""
        if not self.udp:
            return None
        ports = range(self.udp_ports[0], self.udp_ports[1] + 1) if self.udp_ports is not None else ANY_PORTS
        return UdpService(ports, self.udp_mtu_bytes)


class TlsSection(Section):
    """The server's certificate, and the authorities whose clients it accepts (PEM files).

    The files are read again when they change. A machine account always shows its certificate over RTSPS; who comes
    by a ticket only with ``tickets_need_certificate``. ``ocsp_responders`` are the URLs, exactly as certificates name
    them, that are asked of a certificate beside the revocation lists.
    """

    certificate: Path
    key: Path
    client_ca: Path
    revoked: Path | None = None
    tickets_need_certificate: bool = False
    handshake_timeout_s: Annotated[float, Field(ge=0.5, le=30)] = HANDSHAKE_TIMEOUT_S
    ocsp_responders: tuple[Annotated[str, Field(pattern=r"^https?://")], ...] = ()


class _ServerSection(Section):
    """What the node brings itself (``embedded``), or the URL of a server; its password is the one line of a file."""

    url: str = "embedded"
    password_file: Path | None = None

    @field_validator("url")
    @classmethod
    def _holds_no_password(cls, url: str) -> str:
        if ":" in url.partition("://")[2].partition("/")[0].rpartition("@")[0]:
            raise ValueError("a password does not stand here but in password_file")
        return url

    @property
    def is_of_this_node(self) -> bool:
        """Whether no other node can reach it."""
        return self.url == "embedded"

    def address(self) -> str:
        """The URL with the password in it, never to be shown. Raises OSError where its file cannot be read."""
        if self.password_file is None:
            return self.url
        password = quote(self.password_file.read_text(encoding="utf-8").strip(), safe="")
        scheme, _, rest = self.url.partition("://")
        authority, slash, path = rest.partition("/")
        user, _, host = authority.rpartition("@")
        return f"{scheme}://{user}:{password}@{host}{slash}{path}"


class HeartbeatSection(Section):
    """How often the node says in its trace that it lives, in seconds (T07): how exactly a silence can be dated."""

    period_s: Annotated[float, Field(ge=1, le=LONGEST_PERIOD_S)] = 60.0


class StoreSection(_ServerSection):
    """Shared state: ``embedded`` (a Valkey of our own below ``node.data``) or a ``redis://``-like URL."""


class DatabaseSection(_ServerSection):
    """Records: ``embedded`` (SQLite below ``node.data``) or an SQLAlchemy URL of PostgreSQL with asyncpg."""


class CameraSection(Section):
    """An ONVIF device to take into the inventory.

    ``masked_profile`` is the device's token of the one profile in which dwellings are masked: no other is relayed
    (L07).
    """

    id: Name
    name: Shown
    site: Shown
    commune: Shown
    latitude: Annotated[float, Field(ge=-90, le=90)]
    longitude: Annotated[float, Field(ge=-180, le=180)]
    onvif_url: OnvifUrl
    username: str
    password_file: Path
    masked_profile: Annotated[str, Field(min_length=1, max_length=64)] | None = None


class Configuration(Section):
    """All of it."""

    node: NodeSection
    convention: ConventionSection
    listen: ListenSection = ListenSection()
    tls: TlsSection | None = None
    state_store: StoreSection = StoreSection()
    database: DatabaseSection = DatabaseSection()
    timings: TimingsSection = TimingsSection()
    line: LineSection = LineSection()
    idle_rule: IdleRuleSection | None = None
    degraded_modes: tuple[DegradedModeSection, ...] = ()
    retention: RetentionSection = RetentionSection()
    heartbeat: HeartbeatSection = HeartbeatSection()
    siem: SiemSection | None = None
    trace: TraceSection = TraceSection()
    cameras: tuple[CameraSection, ...] = ()
    recorders: tuple[RecorderSection, ...] = ()
    recordings: RecordingsSection = RecordingsSection()
    recorder: RecordingProcessSection | None = None
    exports: ExportsSection | None = None
    machines: tuple[MachineSection, ...] = ()
    assertions: AssertionSection | None = None
    sites: tuple[SiteSection, ...] = ()
    mail: MailSection | None = None
    contacts: Annotated[tuple[ContactSection, ...], Field(max_length=MAX_CONTACTS)] = ()
    on_call: OnCallSection = OnCallSection()
    incidents: IncidentsSection = IncidentsSection()
    restoration: RestorationSection = RestorationSection()
    annexes: AnnexesSection = AnnexesSection()
    equipment: tuple[EquipmentSection, ...] = ()
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    def folder(self) -> DataFolder:
        """What is the node's own, and where its journal's last head is kept."""
        note = self.trace.head_note
        return DataFolder(self.node.data.absolute(), note.absolute() if note is not None else None)

    @model_validator(mode="after")
    def _is_whole(self) -> Configuration:
        faults = []
        if self.tls is None and (self.listen.https_port is not None or self.listen.rtsps_port is not None):
            faults.append("tls is missing, and listen names an https_port or an rtsps_port")
        lost_s, period_s = self.incidents.gateway_lost_s, self.heartbeat.period_s
        if lost_s is not None and lost_s < LOST_BEATS * period_s:
            faults.append(f"incidents.gateway_lost_s is shorter than {LOST_BEATS:g} heartbeats of {period_s:g} s")
        named = {
            "cameras": [camera.id for camera in self.cameras],
            "recorders": [recorder.id for recorder in self.recorders],
            "recorded cameras": [camera for recorder in self.recorders for camera in recorder.cameras],
            "machines": [machine.id for machine in self.machines],
            "sites": [site.id for site in self.sites],
            "degraded_modes": [mode.name for mode in self.degraded_modes],
            "equipment": [each.id for each in self.equipment],
        }
        if self.recordings.bulk_accounts and self.recordings.bulk_agreement is None:
            faults.append("recordings.bulk_accounts without recordings.bulk_agreement, the reference of what allows it")
        faults += strangers_on_call(self.on_call, self.contacts)
        for kind, ids in named.items():
            faults += [f"{kind}: {name} appears twice" for name in sorted({i for i in ids if ids.count(i) > 1})]
        faults += self._unknown_cameras()
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _unknown_cameras(self) -> list[str]:
        known = {camera.id for camera in self.cameras}
        naming = {f"recorders.{recorder.id}.cameras": set(recorder.cameras) for recorder in self.recorders}
        if self.exports is not None:
            naming["exports.cameras"] = set(self.exports.cameras)
        return [
            f"{where}: {name} is none of cameras" for where, names in naming.items() for name in sorted(names - known)
        ]


@dataclass(frozen=True, slots=True)
class ConfigurationFile:
    """What a file held when it was read; ``sha256`` is that of its bytes, as ``sha256sum`` prints it."""

    path: Path
    sha256: str
    configuration: Configuration

    @classmethod
    def read(cls, path: Path) -> ConfigurationFile:
        """Read and validate a file; relative paths in it are relative to it. Raises ConfigurationError."""
        try:
            content = path.read_bytes()
            document = tomllib.loads(content.decode("utf-8"))
        except OSError as error:
            raise ConfigurationError([f"{path}: {error.strerror}"]) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError([f"{path}: {error}"]) from error
        configuration: Configuration = _beside(parse_configuration(document), path.parent)
        faults = [f"{what}: {file} cannot be read" for what, file in _files(configuration) if not file.is_file()]
        faults += _restored_with_the_node(configuration)
        if faults:
            raise ConfigurationError(faults)
        if configuration.siem is not None:
            try:
                configuration.siem.collector().context()
            except OSError as error:
                raise ConfigurationError([f"siem: its certificates cannot be used: {error}"]) from error
        if configuration.exports is not None:
            try:
                configuration.exports.signer()
            except (ValueError, OSError) as error:
                raise ConfigurationError([f"exports: {error}"]) from error
        return cls(path, hashlib.sha256(content).hexdigest(), configuration)


def parse_configuration(document: dict[str, Any]) -> Configuration:
    """Validate a parsed document. Raises ConfigurationError."""
    try:
        return Configuration.model_validate(document)
    except ValidationError as error:
        raise ConfigurationError([_fault(fault) for fault in error.errors(include_input=False)]) from error


def open_questions(configuration: Configuration) -> list[str]:
    """What the configuration leaves to be decided by people: asked by ``check``, and no fault."""
    questions = []
    if configuration.retention.decision is None:
        questions.append(
            "[retention] decision : aucune décision sur les durées de conservation du journal n'est enregistrée"
            f" (accès : {configuration.retention.access_days} jours par défaut) ; rien ne sera éliminé d'ici là"
        )
    if configuration.siem is None:
        questions.append("[siem] : le journal n'est envoyé à aucun collecteur ; il n'existe que sur cet hôte")
    return questions


def read_configuration(path: Path) -> Configuration:
    """The configuration in a file. Raises ConfigurationError."""
    return ConfigurationFile.read(path).configuration


def _files(configuration: Configuration) -> list[tuple[str, Path]]:
    files = [(f"cameras.{camera.id}.password_file", camera.password_file) for camera in configuration.cameras]
    recorders = [each for each in configuration.recorders if each.kind != "segments"]
    files += [(f"recorders.{recorder.id}.password_file", recorder.password_file) for recorder in recorders]
    for name, server in (("state_store", configuration.state_store), ("database", configuration.database)):
        files += [(f"{name}.password_file", server.password_file)] if server.password_file is not None else []
    if configuration.tls is not None:
        tls = configuration.tls
        files += [("tls.certificate", tls.certificate), ("tls.key", tls.key), ("tls.client_ca", tls.client_ca)]
        files += [("tls.revoked", tls.revoked)] if tls.revoked is not None else []
    if configuration.siem is not None:
        siem = configuration.siem
        files += [("siem.authority", siem.authority), ("siem.certificate", siem.certificate), ("siem.key", siem.key)]
    trace = configuration.trace
    files += [("trace.timestamp_ca", trace.timestamp_ca)] if trace.timestamp_ca is not None else []
    files += [("trace.timestamp_revoked", trace.timestamp_revoked)] if trace.timestamp_revoked is not None else []
    files += [("trace.pkcs11.pin_file", trace.pkcs11.pin_file)] if trace.pkcs11 is not None else []
    exports = configuration.exports
    if exports is not None:
        files += [("exports.certificate", exports.certificate), ("exports.key", exports.key)]
    token = configuration.on_call.webhook_token_file
    files += [("on_call.webhook_token_file", token)] if token is not None else []
    return files + mail_files(configuration.mail)


def _restored_with_the_node(configuration: Configuration) -> list[str]:
    note = configuration.trace.head_note
    if note is None or not note.resolve().is_relative_to(configuration.node.data.resolve()):
        return []
    return ["trace.head_note: it lies in node.data, and would be put back with the journal that it is to outlive (T12)"]


def _beside(section: Any, folder: Path) -> Any:
    """The same configuration with each relative path taken from ``folder``."""
    if isinstance(section, Path):
        return folder / section
    if isinstance(section, tuple):
        return tuple(_beside(item, folder) for item in section)
    if isinstance(section, BaseModel):
        return section.model_copy(update={name: _beside(value, folder) for name, value in section})
    return section


def _fault(fault: Any) -> str:
    where = ".".join(str(part) for part in fault["loc"]) or "configuration"
    return f"{where}: {fault['msg']}"
