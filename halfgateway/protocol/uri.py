"""RTSP URLs: taken apart, put together, and shown without their secrets.

Paths and queries are kept as they were written, because a camera compares them byte for byte.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote

from halfgateway.errors import RemoteProtocolError

#: Bytes of a URL. A request with a longer one is refused with 414; ffmpeg's own buffer holds no more.
MAX_URI_BYTES = 4096

_DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322}
_ABSOLUTE = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?]*)(?P<path>[^?]*)(?:\?(?P<query>.*))?",
    re.DOTALL,
)
_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._~-]{1,253})(?::(?P<port>[0-9]{0,5}))?")
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
_WORD = re.compile(r"[^\s\"'<>]+")
_SECRET_PARAMETER = re.compile(r"\b((?:user(?:name)?|pass(?:word|wd)?|pwd)=)[^&\s\"'<>]+", re.IGNORECASE)
_ANNOUNCED = re.compile(
    r"(?:(?:rtsps?://)+[^/?]*|[0-9.]+(?::[0-9]*)?|[^/?:]+:[0-9]+|)(?P<resource>[/?].*)?", re.IGNORECASE | re.DOTALL
)
_TRACK = re.compile(r"/(?P<track>(?:track|stream)(?:id)?=?[0-9]{1,3})/?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RtspUri:
    """An absolute ``rtsp:`` or ``rtsps:`` URL without its credentials (RFC 2326 section 3.2).

    ``host`` keeps the brackets of an IPv6 address; ``explicit_port`` is None where the URL names no port;
    ``query`` is None where there is no ``?``. ``str()`` gives what goes on the wire.
    """

    scheme: str
    host: str
    explicit_port: int | None
    path: str
    query: str | None

    @classmethod
    def parse(cls, text: str) -> RtspUri:
        """Read an absolute URL; its user information is dropped.

        Raises:
            RemoteProtocolError: not an absolute RTSP URL, too long (414), or a host with a zone id.
        """
        scheme, authority, path, query = _split(text)
        address = authority.rpartition("@")[2]
        match = _ADDRESS.fullmatch(address)
        if match is None:
            raise RemoteProtocolError("the URL has no valid host")
        port = int(match["port"]) if match["port"] else None
        if port is not None and not 0 < port < 65536:
            raise RemoteProtocolError("the URL has no valid port")
        return cls(scheme, match["host"].lower(), port, path, query)

    @property
    def port(self) -> int:
        """The TCP port to use: the URL's own, else 554 (``rtsp``) or 322 (``rtsps``)."""
        return self.explicit_port or _DEFAULT_PORTS[self.scheme]

    @property
    def address(self) -> str:
        """The host as a resolver takes it: an IPv6 address without its brackets."""
        return self.host.strip("[]")

    @property
    def path_and_query(self) -> str:
        """What follows the authority."""
        return self.path if self.query is None else f"{self.path}?{self.query}"

    def at(self, host: str, port: int) -> RtspUri:
        """The same resource at another address, for devices that announce one which cannot be reached."""
        bracketed = f"[{host}]" if ":" in host and not host.startswith("[") else host
        return replace(self, host=bracketed, explicit_port=port)

    def here(self, announced: str) -> RtspUri:
        """The resource that a device's own URL names, at this address.

        Only the path and query of that URL count: devices write the address they have behind a NAT, one that is no
        host, credentials, no scheme or two of them.

        Raises:
            RemoteProtocolError: not an RTSP URL, nor a path.
        """
        match = _ANNOUNCED.fullmatch(announced.strip())
        if match is None:
            raise RemoteProtocolError("not the URL of an RTSP resource")
        port = "" if self.explicit_port is None else f":{self.explicit_port}"
        return RtspUri.parse(f"{self.scheme}://{self.host}{port}{match['resource'] or ''}")

    def split_track(self) -> tuple[RtspUri, str | None]:
        """The URL of the presentation, and the control suffix (``trackID=0``) that stood after it.

        The suffix is found before the query, or after it where a client appended it to the whole URL, as
        ffmpeg and live555 do (docs/conformance.md row 42).
        """
        path, query, track = _without_track(self.path, self.query)
        return replace(self, path=path, query=query), track

    def __str__(self) -> str:
        port = "" if self.explicit_port is None else f":{self.explicit_port}"
        return f"{self.scheme}://{self.host}{port}{self.path_and_query}"


def join(base: RtspUri, control: str) -> RtspUri:
    """The URL that a control attribute names (RFC 2326 appendix C.1.1).

    ``*`` and nothing are the base itself; an absolute URL stands for itself. A relative one is appended to
    the base, query included, with one slash between: that is what ffmpeg, live555 and gortsplib do, and
    therefore what cameras expect, rather than the resolution of RFC 1808.

    Raises:
        RemoteProtocolError: the result is not a valid RTSP URL.
    """
    if control in {"", "*"}:
        return base
    if "://" in control.partition("?")[0]:
        return RtspUri.parse(control)
    text = str(base)
    if not text.endswith("/") and not control.startswith(("/", "?")):
        text += "/"
    elif text.endswith("/") and control.startswith("/"):
        text = text[:-1]
    return RtspUri.parse(text + control)


def same_resource(digest_uri: str, request_uri: str) -> bool:
    """Whether the URL that a Digest response covers is the one the request names (docs/conformance.md rows 42, 46).

    Scheme, host and port are not compared: some clients send only the path (Bosch), and the nonce already
    binds the response to this server. A trailing slash and percent-encoding make no difference. A response
    that covers the presentation is good for its tracks (VLC and HappyTime at SETUP), not the other way about.
    """
    if digest_uri == request_uri:
        return True
    if "*" in {digest_uri, request_uri}:
        return False
    covered_path, covered_query, covered_track = _resource(digest_uri)
    asked_path, asked_query, asked_track = _resource(request_uri)
    return (covered_path, covered_query) == (asked_path, asked_query) and covered_track in {None, asked_track}


def redacted(text: str) -> str:
    """The text with user information, and passwords in queries, of every URL replaced by ``***``.

    It rather hides too much than too little: a password may itself hold ``@`` and ``/``.
    """
    without_users = _WORD.sub(lambda word: _without_user(word[0]), text)
    return _SECRET_PARAMETER.sub(r"\1***", without_users)


def _without_user(word: str) -> str:
    scheme, slashes, rest = word.partition("://")
    _, at, address = rest.rpartition("@")
    return f"{scheme}{slashes}***@{address}" if at else word


def _split(text: str) -> tuple[str, str, str, str | None]:
    if len(text) > MAX_URI_BYTES:
        raise RemoteProtocolError("the URL is too long", status=414)
    # Blanks and letters beyond ASCII occur in the URLs of cameras; a line break never may reach the wire.
    if not text.isprintable():
        raise RemoteProtocolError("the URL holds a control character")
    match = _ABSOLUTE.fullmatch(quote(text, safe=_PRINTABLE))
    if match is None or match["scheme"].lower() not in _DEFAULT_PORTS:
        raise RemoteProtocolError("not an absolute RTSP URL")
    return match["scheme"].lower(), match["authority"], match["path"], match["query"]


def _without_track(path: str, query: str | None) -> tuple[str, str | None, str | None]:
    for part in (path, query):
        cut = part.rstrip("/").rfind("/") if part else -1
        match = _TRACK.fullmatch(part, cut) if part and cut >= 0 else None
        if match and part is path:
            return path[:cut], query, match["track"]
        if match and query:
            return path, query[:cut], match["track"]
    return path, query, None


def _resource(uri: str) -> tuple[str, str | None, str | None]:
    absolute = _ABSOLUTE.fullmatch(uri)
    path, question, query = (absolute["path"], "", absolute["query"]) if absolute else uri.partition("?")
    path, query, track = _without_track("/" + path.strip("/"), query if absolute or question else None)
    return _decoded(path).rstrip("/"), query.rstrip("/") if query else None, track


def _decoded(path: str) -> str:
    """Percent-decoding that keeps an encoded slash apart from a real one."""
    return unquote(re.sub("%2f", "%252F", path, flags=re.IGNORECASE), errors="surrogateescape")
