"""What Prometheus may ask, read when it is scraped. Names no one, and no camera."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from camera_registry.retention import Breach
from halfgateway.control.anchoring import Anchoring
from halfgateway.control.hold_watch import HoldWatch
from halfgateway.control.interconnection import Interconnection
from halfgateway.control.retention_probe import RetentionProbe
from halfgateway.control.streams import StreamTable
from halfgateway.downstream.server import RtspServer
from halfgateway.relay.hub import Hub
from halfgateway.relay.reports import CLOCK_WARNING_S
from halfgateway.siem.forwarder import Forwarder


class NodeCollector(Collector):
    """The node's own gauges."""

    def __init__(
        self,
        *,
        table: StreamTable,
        hub: Hub,
        rtsp: RtspServer,
        interconnection: Interconnection,
        trace_size: Callable[[], int],
        trace_writable: Callable[[], bool],
        reports_due: Callable[[], int],
        anchors: Anchoring,
        windows_held: Callable[[], int],
    ) -> None:
        self._table = table
        self._hub = hub
        self._rtsp = rtsp
        self._interconnection = interconnection
        self._trace_size = trace_size
        self._trace_writable = trace_writable
        self._reports_due = reports_due
        self._anchors = anchors
        self._windows_held = windows_held

    def collect(self) -> Iterator[Metric]:
        """See :class:`prometheus_client.registry.Collector`."""
        streams = GaugeMetricFamily("halfgateway_streams", "Streams that this node serves.", labels=["state"])
        states = [stream.state.value for stream in self._table]
        for state in ("reserved", "playing", "paused"):
            streams.add_metric([state], states.count(state))
        yield streams
        traffic = [stream.traffic() for stream in self._table]
        yield _gauge("open_streams_sent_bytes", "Media bytes handed to open streams.", sum(t.bytes for t in traffic))
        yield _gauge("open_streams_lost_packets", "Packets lost by slow readers.", sum(t.lost for t in traffic))
        yield _gauge("pulls", "Cameras being pulled.", sum(1 for _ in self._hub))
        offsets = [source.clock_offset_s for source in self._hub]
        wrong = sum(offset is not None and abs(offset) > CLOCK_WARNING_S for offset in offsets)
        yield _gauge("pulls_clock_off", "Cameras being pulled whose clock is more than 5 s off.", wrong)
        yield _gauge("rtsp_connections", "Open RTSP connections.", len(self._rtsp.connections))
        yield _gauge("interconnection_open", "1 while streams may run.", not self._interconnection.state.closed)
        yield _gauge("trace_entries", "Durable trace entries.", self._trace_size())
        anchored, failing = self._anchors.anchored, self._anchors.failing
        yield _gauge("trace_anchored_entries", "Entries under the last anchor since the start.", anchored)
        yield _gauge("trace_timestamp_failing", "Time-stamping authorities that gave no good token.", failing)
        yield _gauge("break_glass_due", "Sealed credentials that were used and not reported.", self._reports_due())
        yield _gauge("windows_held", "Maintenance windows that are over and stay cut.", self._windows_held())
        yield _gauge("trace_writable", "1 while the trace can be written.", self._trace_writable())


class ForwarderCollector(Collector):
    """How far the SIEM's collector is behind (S06)."""

    def __init__(self, forwarder: Forwarder) -> None:
        self._forwarder = forwarder

    def collect(self) -> Iterator[Metric]:
        """See :class:`prometheus_client.registry.Collector`."""
        forwarder = self._forwarder
        yield _gauge("siem_lag_entries", "Entries not proven to be read by the collector.", forwarder.lag_entries)
        yield _gauge(
            "siem_lag_seconds", "Seconds since a collector that is behind last proved that it reads.", forwarder.lag_s
        )
        yield _gauge("siem_alarm", "1 while the lag is past its bound; nothing is lost by it.", forwarder.alarmed)
        yield _gauge("siem_failures", "Sessions with the collector that failed, since one did not.", forwarder.failures)


class SafekeepingCollector(Collector):
    """What is to be kept and what is to be destroyed: holds that wait, breaches that the probe found (C04, L26)."""

    def __init__(self, holds: HoldWatch, probe: RetentionProbe) -> None:
        self._holds = holds
        self._probe = probe

    def collect(self) -> Iterator[Metric]:
        """See :class:`prometheus_client.registry.Collector`."""
        tally = self._probe.tally
        yield _gauge("holds_waiting", "Judicial holds to be extracted to a sealed medium.", self._holds.waiting)
        breaches = GaugeMetricFamily(
            "halfgateway_retention_breaches", "Cameras whose recordings are not as they must be.", labels=["breach"]
        )
        for breach in Breach:
            breaches.add_metric([breach.value], tally.breaches.get(breach, 0))
        yield breaches
        yield _gauge("retention_unreached", "Cameras whose recorder did not answer the last probe.", tally.unreached)
        probed_at_s = tally.probed_at.timestamp() if tally.probed_at is not None else 0.0
        yield _gauge("retention_probed_timestamp_seconds", "When the last probe was over; 0 for never.", probed_at_s)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"halfgateway_{name}", text, value=float(value))
