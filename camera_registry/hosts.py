"""Which hosts may be asked, and the addresses that devices announce made usable within them.

A device behind NAT, or given a new address, announces one that cannot be reached, or that belongs to somebody
else. The gateway never follows it out of the allow-list (docs/quirks.md, onvif-address-elsewhere).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import SplitResult, urlsplit, urlunsplit

from camera_registry.errors import ForbiddenHost, Malformed

MAX_URL_CHARACTERS: Final = 2048
"""Length of an address that a device may announce. Real ones are under 300; a longer one is refused."""


class AllowedHosts:
    """Host names, addresses and networks (CIDR) that may be connected to; nothing else may."""

    def __init__(self, entries: Iterable[str]) -> None:
        """Take names (``nvr.syn.example``), addresses and networks (``10.78.0.0/16``)."""
        self.entries = tuple(entries)
        self._names: set[str] = set()
        self._addresses: set[IPv4Address | IPv6Address] = set()
        self._networks: list[IPv4Network | IPv6Network] = []
        for entry in self.entries:
            try:
                network = ip_network(entry.strip("[]"), strict=False)
            except ValueError:
                self._names.add(entry.lower())
                continue
            if network.num_addresses == 1:  # looked up, not searched: a list of cameras may hold thousands
                self._addresses.add(network.network_address)
            else:
                self._networks.append(network)

    def allows(self, host: str) -> bool:
        """Return whether ``host``, a name or an address without brackets, may be connected to."""
        try:
            address = ip_address(host)
        except ValueError:
            return host.lower() in self._names
        return address in self._addresses or any(address in network for network in self._networks)

    def require(self, url: str) -> None:
        """Raise ForbiddenHost unless the host of ``url`` may be connected to, Malformed if there is none."""
        host = _split(url).hostname
        if not host:
            raise Malformed("an address without a host")
        if not self.allows(host):
            raise ForbiddenHost(f"{host} is not among the hosts that may be asked")


def reachable_url(announced: str, *, endpoint: str, allowed: AllowedHosts, schemes: Collection[str]) -> str:
    """Return an announced address as it may be used: without credentials, within the allow-list.

    A host outside the list is replaced by that of ``endpoint``, the address under which the device itself was
    found; port, path and query stay as announced. Raises Malformed if it is no address of these ``schemes``,
    ForbiddenHost if ``endpoint`` itself is not allowed.
    """
    allowed.require(endpoint)
    if len(announced) > MAX_URL_CHARACTERS:
        raise Malformed("the device announces an address that is too long")
    parts = _split(announced.strip())
    if parts.scheme not in schemes or not parts.hostname:
        raise Malformed(f"the device announces an address that is not one of {'/'.join(schemes)}")
    host = parts.hostname if allowed.allows(parts.hostname) else _split(endpoint).hostname or ""
    authority = f"[{host}]" if ":" in host else host
    if parts.port is not None:
        authority += f":{parts.port}"
    return urlunsplit((parts.scheme, authority, parts.path, parts.query, ""))


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise Malformed("the device announces something that is no address") from error
    return parts
