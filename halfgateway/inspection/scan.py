"""Finds ONVIF devices within one range of addresses, and nowhere else.

Each address gets a WS-Discovery probe of its own (unicast, WS-Discovery 1.1 section 3.1.3), and a connection to each of
some ports where ONVIF is usual; what listens is asked for its clock, which needs no credentials (Core 8.3.1). None are
ever sent.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_address
from urllib.parse import unquote, urlsplit

from lxml import etree

from camera_registry import soap
from camera_registry.clock import Clock
from camera_registry.errors import AuthRejected, Malformed, RegistryError
from camera_registry.guard import CredentialGuard
from camera_registry.hosts import AllowedHosts, reachable_url
from camera_registry.onvif_library import DEVICE
from camera_registry.onvif_transport import DeviceTransport

MAX_ADDRESSES = 4096
"""Addresses of one scan (an IPv4 /20): a larger range is refused, for a slip of the keyboard must sweep no network."""

PORTS = (80, 8000, 8080, 8899)
"""Where ONVIF usually listens."""

DISCOVERY_PORT = 3702
"""Where WS-Discovery listens (WS-Discovery 1.1 section 2.4)."""

ADDRESSES_AT_ONCE = 32
"""Addresses asked at the same time: a small network's tables of neighbours hold that many that are not there."""

CONNECT_TIMEOUT_S = 1.0
"""How long a device of the same house may take to accept a connection."""

ANSWER_TIMEOUT_S = 4.0
"""How long it may take to tell its clock."""

DISCOVERY_WAIT_S = 2.0
"""How long answers to the last probe are waited for; devices delay theirs by up to half a second."""

MAX_DATAGRAMS = 4 * MAX_ADDRESSES
"""Answers to probes that are read in one scan; further ones are not looked at."""

_ADDRESSING = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
_DISCOVERY = "http://schemas.xmlsoap.org/ws/2005/04/discovery"
_DEVICE_PATH = "/onvif/device_service"
_TEXT_CHARACTERS = 100

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDevice:
    """A device that answered: where, how it was found, and what it calls itself.

    ``answers`` is whether it told its clock at ``onvif_url``; ``wants_credentials`` whether it refused even that.
    """

    onvif_url: str
    by: str
    name: str = ""
    hardware: str = ""
    answers: bool = False
    wants_credentials: bool = False


class Scan:
    """One scan of ``network``; ``on_progress`` is called with how many addresses are done, after each."""

    def __init__(
        self,
        network: Network,
        *,
        clock: Clock,
        ports: Sequence[int] = PORTS,
        discovery_port: int = DISCOVERY_PORT,
        discovery_wait_s: float = DISCOVERY_WAIT_S,
        on_progress: Callable[[int], None] = lambda done: None,
    ) -> None:
        """Raises ValueError for a range of more than MAX_ADDRESSES."""
        if network.num_addresses > MAX_ADDRESSES:
            raise ValueError(f"{network} has more than {MAX_ADDRESSES} addresses; scan it in parts")
        self.addresses = tuple(str(address) for address in network.hosts())
        self._network = network
        self._allowed = AllowedHosts([str(network)])
        self._guard = CredentialGuard(clock)
        self._clock = clock
        self._ports = ports
        self._discovery_port = discovery_port
        self._discovery_wait_s = discovery_wait_s
        self.on_progress = on_progress
        self._done = 0

    async def run(self) -> tuple[FoundDevice, ...]:
        """Scan; return the devices by address. Raises OSError where no datagram can be sent at all."""
        listener = _Listener(self._network)
        local = ("::" if self._network.version == 6 else "0.0.0.0", 0)  # noqa: S104 (answers come to any of our addresses)
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: listener, local_addr=local)
        try:
            by_port = await self._ask_all(transport)
            await asyncio.sleep(self._discovery_wait_s)
        finally:
            transport.close()
        announced = {device.onvif_url: device for device in listener.devices()}
        checked = await asyncio.gather(*(self._checked(device) for device in announced.values()))
        found = {device.onvif_url: device for device in by_port} | {device.onvif_url: device for device in checked}
        return tuple(sorted(found.values(), key=_place))

    async def _ask_all(self, transport: asyncio.DatagramTransport) -> list[FoundDevice]:
        places = asyncio.Semaphore(ADDRESSES_AT_ONCE)

        async def ask(address: str) -> list[FoundDevice]:
            async with places:
                transport.sendto(probe_message(), (address, self._discovery_port))
                found = await asyncio.gather(*(self._at_port(address, port) for port in self._ports))
                self._done += 1
                self.on_progress(self._done)
                return [device for device in found if device is not None]

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask(address)) for address in self.addresses]
        return [device for task in tasks for device in task.result()]

    async def _at_port(self, address: str, port: int) -> FoundDevice | None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, writer = await asyncio.open_connection(address, port)
        except (OSError, TimeoutError):
            return None
        writer.transport.abort()
        url = f"http://{_bracketed(address)}{'' if port == 80 else f':{port}'}{_DEVICE_PATH}"
        device = await self._checked(FoundDevice(onvif_url=url, by="port"))
        return device if device.answers or device.wants_credentials else None

    async def _checked(self, device: FoundDevice) -> FoundDevice:
        """The same device, with whether it tells its clock; never with credentials."""
        transport = DeviceTransport(
            device=urlsplit(device.onvif_url).netloc,
            credentials=None,
            allowed=self._allowed,
            guard=self._guard,
            clock=self._clock,
            random_bytes=os.urandom,
            timeout_s=ANSWER_TIMEOUT_S,
        )
        question = soap.envelope(etree.Element(f"{{{DEVICE}}}GetSystemDateAndTime"))
        try:
            reply = await transport.post_xml(device.onvif_url, question, {})
            told = soap.first(soap.read_envelope(reply.content), "Body", "GetSystemDateAndTimeResponse")
            return replace(device, answers=told is not None)
        except AuthRejected:
            return replace(device, wants_credentials=True)
        except RegistryError:
            return device
        finally:
            await transport.close()


class _Listener(asyncio.DatagramProtocol):
    """Keeps the answers to probes that come from within the network."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._datagrams: list[tuple[str, bytes]] = []

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        sender = ip_address(addr[0].partition("%")[0])
        if sender in self._network and len(self._datagrams) < MAX_DATAGRAMS:
            self._datagrams.append((str(sender), data))

    def devices(self) -> Iterable[FoundDevice]:
        """What was announced, each at the address that it answered from."""
        for sender, data in self._datagrams:
            yield from probe_matches(data, sender)


def probe_message() -> bytes:
    """A WS-Discovery probe for video transmitters, as a datagram (ONVIF Core 7.3)."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<s:Envelope xmlns:s="{soap.ENVELOPE}" xmlns:a="{_ADDRESSING}"><s:Header>'
        f'<a:Action s:mustUnderstand="1">{_DISCOVERY}/Probe</a:Action>'
        f"<a:MessageID>urn:uuid:{uuid.uuid4()}</a:MessageID>"
        '<a:To s:mustUnderstand="1">urn:schemas-xmlsoap-org:ws:2005:04:discovery</a:To></s:Header><s:Body>'
        f'<d:Probe xmlns:d="{_DISCOVERY}"><d:Types xmlns:dn="http://www.onvif.org/ver10/network/wsdl">'
        "dn:NetworkVideoTransmitter</d:Types></d:Probe></s:Body></s:Envelope>"
    ).encode()


def probe_matches(data: bytes, sender: str) -> list[FoundDevice]:
    """The devices that an answer to a probe announces; their addresses are on ``sender``, whatever they say."""
    endpoint = f"http://{_bracketed(sender)}/"
    try:
        matches = soap.first(soap.read_envelope(data), "Body", "ProbeMatches")
    except Malformed:
        return []
    found = []
    for match in soap.children(matches, "ProbeMatch") if matches is not None else ():
        scopes = soap.text_of(match, "Scopes").split()
        for announced in soap.text_of(match, "XAddrs").split():
            try:
                url = reachable_url(
                    announced, endpoint=endpoint, allowed=AllowedHosts([sender]), schemes=("http", "https")
                )
            except RegistryError:
                continue
            device = FoundDevice(
                onvif_url=url, by="discovery", name=_scope(scopes, "name"), hardware=_scope(scopes, "hardware")
            )
            if device not in found:
                found.append(device)
    return found


def _scope(scopes: Sequence[str], kind: str) -> str:
    prefix = f"onvif://www.onvif.org/{kind}/"
    text = next((scope.removeprefix(prefix) for scope in scopes if scope.startswith(prefix)), "")
    return "".join(character for character in unquote(text) if character.isprintable())[:_TEXT_CHARACTERS]


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _place(device: FoundDevice) -> tuple[int, int]:
    parts = urlsplit(device.onvif_url)
    return int(ip_address(parts.hostname or "")), parts.port or 0
