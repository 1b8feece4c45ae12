"""A node's door, a recorder in memory, and a workshop that makes exports of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from auth.demo_authority import DemoAuthority
from auth.policy import Action, Mode
from auth.principals import Role
from auth.rights import USUAL_ACTIONS
from auth.trace import Entry, Kind
from camera_registry.clock import SystemClock
from halfgateway.control.access import AccessRequest
from halfgateway.control.replays import Replays
from halfgateway.exporting.export import Export
from halfgateway.exporting.exports import Exports
from halfgateway.exporting.rules import ExportRules
from halfgateway.exporting.shelf import Shelf
from halfgateway.exporting.signing import ManifestSigner
from halfgateway.exporting.workshop import Workshop
from halfgateway.net.valkey import EmbeddedValkey
from tests.control.doors import AGENT, CAMERA, OPERATOR, RESPONSIBLE, Place, open_place, wish
from tests.control.valkeys import Nodes
from tests.exporting.footages import Recorder, Reel, Take, shot
from tests.rights import habilitation, rights

EXPORTING = USUAL_ACTIONS | {Action.EXPORT}


@dataclass
class Studio:
    """Everything; ``start`` is when the camera's footage begins, an hour ago."""

    place: Place
    exports: Exports
    workshop: Workshop
    reel: Reel
    start: datetime
    authority: Path

    @property
    def end(self) -> datetime:
        return self.reel.takes[-1].end

    @property
    def folder(self) -> Path:
        return self.workshop.rules.folder

    def wish(self, **changes: Any) -> AccessRequest:
        usual = replace(
            wish(profile=None), mode=Mode.RECORDED, start=self.start, end=self.end, export=True, reference="PP-2026-7"
        )
        return replace(usual, **changes)

    async def made(self, **changes: Any) -> Export:
        """An export that is over."""
        export = await self.exports.ask(self.wish(**changes))
        await self.over(export)
        return export

    async def over(self, export: Export) -> None:
        assert export.making is not None
        await export.making
        await self.place.settle()

    async def told(self, export: Export) -> dict[Kind, Entry]:
        await self.place.settle()
        return {entry.kind: entry for entry in await self.place.told(export.id)}

    def files(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file()]

    def reopened(self, workshop: Workshop | None = None) -> Exports:
        """The exports of a node that starts again."""
        place = self.place
        return Exports(
            workshop or self.workshop,
            history=place.journal.reader(),
            admission=place.admission,
            table=place.table,
            closer=place.closer,
            tracer=place.tracer,
            clock=SystemClock(),
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def valkey(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[EmbeddedValkey, str]]:
    server = EmbeddedValkey(tmp_path_factory.mktemp("valkey"), stop_limit_s=0.5)
    yield server, await server.start()
    await server.stop()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """An authority's certificate, and a certificate of it with its key."""
    now = SystemClock().now()
    authority = DemoAuthority.open(tmp_path_factory.mktemp("ca"), now)
    issued = authority.client("exports", now)
    return authority.certificate_path, issued.certificate_path, issued.key_path


@asynccontextmanager
async def open_studio(
    folder: Path, valkey: tuple[EmbeddedValkey, str], authority: tuple[Path, Path, Path], **agreed: Any
) -> AsyncIterator[Studio]:
    ca, certificate, key = authority
    nodes = Nodes(*valkey)
    start = (datetime.now(UTC) - timedelta(hours=1)).replace(microsecond=0)
    async with AsyncExitStack() as life:
        life.push_async_callback(nodes.aclose)
        place = await life.enter_async_context(open_place(nodes, folder / "trace"))
        place.cameras.camera = replace(place.cameras.camera, commune="Versailles", recorded=True)
        people = {AGENT: Role.OPERATOR, RESPONSIBLE: Role.MACHINE}
        granted = tuple(habilitation(agent, role, actions=EXPORTING) for agent, role in people.items())
        place.who_may.rights = rights(people, [CAMERA], habilitations=granted)
        reel = Reel([Take(start, shot())])
        rules = ExportRules(
            **{
                "agreement": "avenant n° 3",
                "accounts": frozenset({OPERATOR}),
                "cameras": frozenset({CAMERA}),
                "folder": folder / "exports",
                "max_duration": timedelta(hours=1),
                "max_bytes": 1 << 30,
                "kept": timedelta(hours=24),
                "at_once": 1,
                **agreed,
            }
        )
        clock = SystemClock()
        workshop = Workshop(
            rules=rules,
            signer=ManifestSigner.read(certificate, key),
            shelf=Shelf(rules.folder, "a"),
            replays=Replays(Recorder({CAMERA: reel}), place.admission, clock, now=clock.monotonic),
            find_camera=place.cameras.find,
            sign_head=place.journal.write_checkpoint,
            clock=clock,
            now=clock.monotonic,
        )
        exports = Exports(
            workshop,
            history=place.journal.reader(),
            admission=place.admission,
            table=place.table,
            closer=place.closer,
            tracer=place.tracer,
            clock=clock,
        )
        life.push_async_callback(place.settle)
        life.push_async_callback(exports.close)
        yield Studio(place, exports, workshop, reel, start, ca)


@pytest_asyncio.fixture(loop_scope="module")
async def studio(
    tmp_path: Path, valkey: tuple[EmbeddedValkey, str], authority: tuple[Path, Path, Path]
) -> AsyncIterator[Studio]:
    async with open_studio(tmp_path, valkey, authority) as opened:
        yield opened
