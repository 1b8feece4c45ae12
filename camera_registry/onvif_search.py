"""Asking a recorder of ONVIF Profile G what it has recorded and where to play it (Recording Search, Replay Control).

Envelopes are written by hand, and answers read by their local names, so that prefixes that nobody declared and fields
that are missing or out of order do not matter. Time filters are sent and not relied on: some recorders ignore them.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Final

from lxml import etree

from camera_registry import soap
from camera_registry.errors import Malformed, NoSuchRecording, NotSupported, RegistryError, Timeout
from camera_registry.hosts import AllowedHosts, reachable_url
from camera_registry.onvif_port import RecordingSpan, StateChange
from camera_registry.onvif_transport import DeviceTransport

DEVICE: Final = "http://www.onvif.org/ver10/device/wsdl"
SEARCH: Final = "http://www.onvif.org/ver10/search/wsdl"
REPLAY: Final = "http://www.onvif.org/ver10/replay/wsdl"
_SCHEMA: Final = "http://www.onvif.org/ver10/schema"
_TOPICS: Final = "http://www.onvif.org/ver10/topics"
_NOTIFICATION: Final = "http://docs.oasis-open.org/wsn/b-2"
_CONCRETE_SET: Final = "http://www.onvif.org/ver10/tev/topicExpression/ConcreteSet"

MAX_RECORDINGS: Final = 256
"""Recordings read of one recorder: one a camera, those of an NVR of 64 channels four times. More are left out."""

MAX_CHANGES: Final = 8192
"""Changes read of one search: ten days of a recorder that begins and ends four hundred times a day. One with more is
taken for one that cannot tell: what is known of it is where it begins and ends."""

RESULTS_AT_ONCE: Final = 200
"""Results asked for in one answer; a recorder may give fewer, and some give all."""

MAX_ROUNDS: Final = 500
"""Answers read of one search. One that goes on without a result is not waited for any longer."""

SEARCH_LIMIT_S: Final = 45.0
"""Seconds that one search may take in all."""

_EMPTY_ROUND_S: Final = 0.2  # Between two questions of a recorder that searches and answers at once that it does.
_HTTP: Final = ("http", "https")
_RTSP: Final = ("rtsp", "rtsps")
_TRACK_STATE: Final = "Track/State"
_RECORDING_STATE: Final = "Recording/State"
_BOTH_STATES: Final = f"{_TRACK_STATE}|tns1:RecordingHistory/{_RECORDING_STATE}"
_INSTANT = re.compile(
    r"(?P<second>\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(?P<fraction>\d{1,9}))?(?P<zone>Z|[+-]\d{2}:?\d{2})?"
)


class RecorderClient:
    """A :class:`~camera_registry.onvif_port.RecorderPort` over one transport; ``one_call`` is held for each request."""

    def __init__(self, url: str, transport: DeviceTransport, *, allowed: AllowedHosts, one_call: asyncio.Lock) -> None:
        """Ask the device whose device service is at ``url``."""
        self._url = url
        self._transport = transport
        self._allowed = allowed
        self._one_call = one_call
        self._addresses: Mapping[str, str] | None = None

    async def recordings(self) -> tuple[RecordingSpan, ...]:
        """Ask FindRecordings, and GetRecordingSearchResults until it is done."""
        async with _in_time():
            return await self._find_recordings(None)

    async def recording(self, token: str) -> RecordingSpan:
        """Ask GetRecordingInformation; where that is missing, look for it among all."""
        async with _in_time():
            try:
                answer = await self._ask(SEARCH, _element(SEARCH, "GetRecordingInformation", RecordingToken=token))
                return _span(soap.first(answer, "RecordingInformation"), token)
            except NoSuchRecording:
                raise
            except (NotSupported, Malformed):
                found = await self._find_recordings(token)
        named = next((span for span in found if span.token == token), None)
        if named is None:
            raise NoSuchRecording("the device has no such recording")
        return named

    async def state_changes(self, token: str, start: datetime, end: datetime) -> tuple[StateChange, ...]:
        """Ask FindEvents for when footage began and ended, and GetEventSearchResults until it is done."""
        async with _in_time():
            try:
                found = await self._find_changes(token, start, end, _BOTH_STATES)
            except NoSuchRecording:
                raise
            except (NotSupported, Malformed):
                found = await self._find_changes(token, start, end, _TRACK_STATE)
        return tuple(sorted(found, key=lambda change: (change.at, change.track, change.present)))

    async def replay_url(self, token: str) -> str:
        """Ask GetReplayUri."""
        request = _element(REPLAY, "GetReplayUri")
        setup = etree.SubElement(request, f"{{{REPLAY}}}StreamSetup")
        etree.SubElement(setup, f"{{{_SCHEMA}}}Stream").text = "RTP-Unicast"
        transport = etree.SubElement(setup, f"{{{_SCHEMA}}}Transport")
        etree.SubElement(transport, f"{{{_SCHEMA}}}Protocol").text = "RTSP"
        etree.SubElement(request, f"{{{REPLAY}}}RecordingToken").text = token
        announced = soap.text_of(await self._ask(REPLAY, request), "Uri")
        return reachable_url(announced, endpoint=self._url, allowed=self._allowed, schemes=_RTSP)

    async def reverses(self) -> bool:
        """Ask the replay service for its ReversePlayback; one that does not say cannot."""
        try:
            answer = await self._ask(REPLAY, _element(REPLAY, "GetServiceCapabilities"))
        except (NotSupported, Malformed):
            return False
        capabilities = soap.first(answer, "Capabilities")
        return capabilities is not None and _is_true(capabilities.get("ReversePlayback", ""))

    async def _find_changes(self, token: str, start: datetime, end: datetime, topics: str) -> set[StateChange]:
        found: set[StateChange] = set()
        request = _find_events(token, start, end, topics)
        async with aclosing(self._results(request, "GetEventSearchResults")) as answers:
            async for answer in answers:
                found.update(_changes(answer, token))
                if len(found) > MAX_CHANGES:
                    raise NotSupported(f"more than {MAX_CHANGES} changes")
        return found

    async def _find_recordings(self, token: str | None) -> tuple[RecordingSpan, ...]:
        found: dict[str, RecordingSpan] = {}
        request = _element(SEARCH, "FindRecordings")
        scope = etree.SubElement(request, f"{{{SEARCH}}}Scope")
        if token is not None:
            etree.SubElement(scope, f"{{{_SCHEMA}}}IncludedRecordings").text = token
        etree.SubElement(request, f"{{{SEARCH}}}KeepAliveTime").text = "PT60S"
        async with aclosing(self._results(request, "GetRecordingSearchResults")) as answers:
            async for answer in answers:
                for information in soap.children(answer, "RecordingInformation"):
                    span = _span(information, "")
                    if span.token and len(found) < MAX_RECORDINGS:
                        found[span.token] = span
        return tuple(found.values())

    async def _results(self, request: etree._Element, operation: str) -> AsyncGenerator[etree._Element, None]:
        """Give the lists of results of one search, until it is completed or gives nothing more."""
        token = soap.text_of(await self._ask(SEARCH, request), "SearchToken")
        if not token:
            raise Malformed("the search has no token")
        try:
            before = b""
            for _ in range(MAX_ROUNDS):
                more = _element(
                    SEARCH,
                    operation,
                    SearchToken=token,
                    MinResults="1",
                    MaxResults=str(RESULTS_AT_ONCE),
                    WaitTime="PT2S",
                )
                results = soap.first(await self._ask(SEARCH, more), "ResultList")
                if results is None:
                    return
                yield results
                state = soap.text_of(results, "SearchState")
                # Without a state, an answer that brings nothing, or nothing new, is the last.
                said = etree.tostring(results)
                if state == "Completed" or (not state and (not len(results) or said == before)):
                    return
                before = said
                if not any(soap.local_name(child) != "SearchState" for child in results):
                    await asyncio.sleep(_EMPTY_ROUND_S)
        finally:
            with suppress(RegistryError):
                await self._ask(SEARCH, _element(SEARCH, "EndSearch", SearchToken=token))

    async def _ask(self, namespace: str, request: etree._Element) -> etree._Element:
        """Send a call to a service; return the element in the answer's body."""
        addresses = await self._service_addresses()
        if namespace not in addresses:
            raise NotSupported("the device announces no such service")
        return await self._post(addresses[namespace], request)

    async def _post(self, address: str, request: etree._Element) -> etree._Element:
        async with self._one_call:
            reply = await self._transport.post_xml(address, soap.envelope(request), {})
        body = soap.first(soap.read_envelope(reply.content), "Body")
        if body is None or not len(body):
            raise Malformed("the answer is empty")
        return body[0]

    async def _service_addresses(self) -> Mapping[str, str]:
        if self._addresses is None:
            try:
                answer = await self._post(self._url, _element(DEVICE, "GetServices", IncludeCapability="false"))
                announced = {
                    soap.text_of(service, "Namespace"): soap.text_of(service, "XAddr")
                    for service in soap.children(answer, "Service")
                }
            except (NotSupported, Malformed):
                announced = {}
            if SEARCH not in announced and REPLAY not in announced:
                announced = await self._from_capabilities()
            self._addresses = {
                namespace: reachable_url(announced[namespace], endpoint=self._url, allowed=self._allowed, schemes=_HTTP)
                for namespace in (SEARCH, REPLAY)
                if announced.get(namespace)
            }
        return self._addresses

    async def _from_capabilities(self) -> dict[str, str]:
        answer = await self._post(self._url, _element(DEVICE, "GetCapabilities", Category="All"))
        told = {
            namespace: soap.text_of(answer, "Capabilities", "Extension", name, "XAddr")
            for namespace, name in ((SEARCH, "Search"), (REPLAY, "Replay"))
        }
        return {namespace: address for namespace, address in told.items() if address}


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    """Bound a search. Raises Timeout."""
    try:
        async with asyncio.timeout(SEARCH_LIMIT_S):
            yield
    except TimeoutError as error:
        raise Timeout(f"the search took longer than {SEARCH_LIMIT_S:g} s") from error


def read_instant(text: str) -> datetime | None:
    """The instant that a recorder writes (xs:dateTime); one without a zone is in UTC (5.2.6), None for what is none."""
    match = _INSTANT.fullmatch(text.strip())
    if match is None:
        return None
    zone = (match["zone"] or "Z").replace("Z", "+0000").replace(":", "")
    fraction = timedelta(microseconds=int((match["fraction"] or "0")[:6].ljust(6, "0")))
    try:
        return datetime.strptime(match["second"] + zone, "%Y-%m-%dT%H:%M:%S%z").astimezone(UTC) + fraction
    except (ValueError, OverflowError):
        return None


def _element(namespace: str, operation: str, **parameters: str) -> etree._Element:
    root = etree.Element(f"{{{namespace}}}{operation}", nsmap={"q": namespace, "tt": _SCHEMA})
    for name, value in parameters.items():
        etree.SubElement(root, f"{{{namespace}}}{name}").text = value
    return root


def _find_events(token: str, start: datetime, end: datetime, states: str) -> etree._Element:
    root = etree.Element(
        f"{{{SEARCH}}}FindEvents", nsmap={"q": SEARCH, "tt": _SCHEMA, "tns1": _TOPICS, "wsnt": _NOTIFICATION}
    )
    etree.SubElement(root, f"{{{SEARCH}}}StartPoint").text = _written(start)
    etree.SubElement(root, f"{{{SEARCH}}}EndPoint").text = _written(end)
    scope = etree.SubElement(root, f"{{{SEARCH}}}Scope")
    etree.SubElement(scope, f"{{{_SCHEMA}}}IncludedRecordings").text = token
    wanted = etree.SubElement(root, f"{{{SEARCH}}}SearchFilter")
    topics = etree.SubElement(wanted, f"{{{_NOTIFICATION}}}TopicExpression", Dialect=_CONCRETE_SET)
    topics.text = f"tns1:RecordingHistory/{states}"
    etree.SubElement(root, f"{{{SEARCH}}}IncludeStartState").text = "true"
    etree.SubElement(root, f"{{{SEARCH}}}KeepAliveTime").text = "PT60S"
    return root


def _written(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _span(information: etree._Element | None, token: str) -> RecordingSpan:
    """What a RecordingInformation says; of its tracks, the video counts."""
    if information is None:
        raise Malformed("nothing is said of the recording")
    videos = [
        track for track in soap.children(information, "Track") if soap.text_of(track, "TrackType").lower() == "video"
    ]
    return RecordingSpan(
        token=soap.text_of(information, "RecordingToken") or token,
        earliest=_extreme(min, videos, "DataFrom") or read_instant(soap.text_of(information, "EarliestRecording")),
        latest=_extreme(max, videos, "DataTo") or read_instant(soap.text_of(information, "LatestRecording")),
        goes_on=soap.text_of(information, "RecordingStatus") == "Recording",
        tracks=tuple(soap.text_of(track, "TrackToken") for track in videos),
    )


def _extreme(choose: Callable[[list[datetime]], datetime], tracks: list[etree._Element], name: str) -> datetime | None:
    told = [instant for track in tracks if (instant := read_instant(soap.text_of(track, name))) is not None]
    return choose(told) if told else None


def _changes(results: etree._Element, token: str) -> list[StateChange]:
    """The changes among the results of one answer; what is of another recording or topic is left out."""
    found = []
    for result in soap.children(results, "Result"):
        topic = soap.text_of(result, "Event", "Topic")
        at = read_instant(soap.text_of(result, "Time"))
        present = _said_present(result)
        if at is None or present is None or soap.text_of(result, "RecordingToken") not in ("", token):
            continue
        if topic.endswith(_TRACK_STATE):
            found.append(StateChange(at=at, present=present, track=soap.text_of(result, "TrackToken") or "-"))
        elif topic.endswith(_RECORDING_STATE):
            found.append(StateChange(at=at, present=present))
    return found


def _said_present(result: etree._Element) -> bool | None:
    """What an event's data say of footage, None where they say nothing."""
    data = soap.first(result, "Event", "Message", "Message", "Data")
    if data is None:
        return None
    for item in soap.children(data, "SimpleItem"):
        if item.get("Name") in ("IsDataPresent", "IsRecording"):
            return _is_true(item.get("Value", ""))
    return None


def _is_true(text: str) -> bool:
    return text.strip().lower() in ("true", "1")
