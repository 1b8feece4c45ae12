"""The cameras that the caller may see, and where footage of them exists."""

from __future__ import annotations

from auth.policy import Mode
from auth.principals import Principal, Role
from auth.trace import Kind
from camera_registry.clock import rfc3339
from halfgateway.api.operation import EVERYONE, Call, operation
from halfgateway.api.paths import API
from halfgateway.api.ports import AccessTrace, CameraCatalogue
from halfgateway.api.shapes import ById, CameraList, CameraShape, Paging, Recordings, RecordingsQuery
from halfgateway.errors import NoRecording, Refusal, TraceUnavailable, UnknownCamera

_NOT_AN_ACT = "reads the referential: no stream, no recording, nobody's act"


class CameraRoutes:
    """Reads the referential; a search for recordings is traced, found or not (C05)."""

    def __init__(self, catalogue: CameraCatalogue, trace: AccessTrace) -> None:
        self._catalogue = catalogue
        self._trace = trace

    @operation("GET", f"{API}/cameras", summary="List the cameras", roles=EVERYONE, untraced=_NOT_AN_ACT)
    async def list_cameras(self, call: Call, principal: Principal, query: Paging) -> CameraList:
        """List what the caller may see, newest first."""
        page = await self._catalogue.list_cameras(principal, limit=query.limit, cursor=query.cursor)
        return CameraList(items=tuple(CameraShape.of(camera) for camera in page.items), next=page.next)

    @operation(
        "GET",
        f"{API}/cameras/{{id}}",
        summary="Show a camera",
        roles=EVERYONE,
        errors=(UnknownCamera,),
        untraced=_NOT_AN_ACT,
    )
    async def show_camera(self, call: Call, principal: Principal, path: ById) -> CameraShape:
        """Show one camera."""
        return CameraShape.of(await self._catalogue.camera(principal, path.id))

    @operation(
        "GET",
        f"{API}/cameras/{{id}}/recordings",
        summary="Tell where footage exists, within the window that can be reached",
        roles={Role.OPERATOR, Role.MACHINE},
        errors=(UnknownCamera, NoRecording, TraceUnavailable),
        traces=(Kind.RECORDING_SEARCHED,),
    )
    async def search_recordings(
        self, call: Call, principal: Principal, path: ById, query: RecordingsQuery
    ) -> Recordings:
        """Answer once the search is durable in the trace."""
        try:
            found = await self._catalogue.recordings(principal, path.id, start=query.start, end=query.end)
        except Refusal as refusal:
            await self._trace_search(call, principal, path, query, refusal=refusal.code)
            raise
        await self._trace_search(call, principal, path, query, intervals=len(found.intervals))
        return found

    async def _trace_search(
        self,
        call: Call,
        principal: Principal,
        path: ById,
        query: RecordingsQuery,
        *,
        refusal: str | None = None,
        intervals: int = 0,
    ) -> None:
        period = {"start": query.start, "end": query.end}
        asked = {name: rfc3339(instant) for name, instant in period.items() if instant is not None}
        await self._trace.durable(
            call.entry(
                Kind.RECORDING_SEARCHED,
                principal,
                {**asked, "intervals": intervals},
                camera=path.id,
                mode=Mode.RECORDED,
                refusal=refusal,
            )
        )
