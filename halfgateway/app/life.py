"""The convention's life, put together: its stores, the services before them, and what a node does as time passes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from auth.policy import Convention
from auth.rights import Administration
from auth.trace.notes import write_key
from camera_registry.cameras import CameraState
from camera_registry.clock import Clock
from camera_registry.store import CameraStore
from halfgateway.api.acts import Acts
from halfgateway.api.annex_service import AnnexService
from halfgateway.api.change_service import ChangeService
from halfgateway.api.convention_service import ConventionService, Signer
from halfgateway.app.keeping import Records
from halfgateway.config import Configuration
from halfgateway.control.rights_view import RightsView
from halfgateway.control.tracing import Tracer
from halfgateway.keys import NodeKeys
from ops.acceptance import Result
from ops.annex_store import AnnexStore
from ops.annexes import Document
from ops.change_store import ChangeStore, WindowStore
from ops.convention_store import ConventionStore
from ops.diagram import drawn, usual_equipment, with_inventory


@dataclass(frozen=True, slots=True)
class Stores:
    """What is on record of the convention's life."""

    changes: ChangeStore
    windows: WindowStore
    annexes: AnnexStore
    conventions: ConventionStore


@dataclass(frozen=True, slots=True)
class LifeOffice:
    """The services that keep it."""

    stores: Stores
    changes: ChangeService
    annexes: AnnexService
    convention: ConventionService


class Inspection:
    """Makes the automatic checks of an acceptance run from what the node knows (:mod:`ops.acceptance`).

    ``missing`` names what is not well (:class:`~halfgateway.api.services.HealthService`).
    """

    def __init__(
        self,
        *,
        missing: Callable[[], Awaitable[Sequence[str]]],
        view: RightsView,
        cameras: CameraStore,
        current: Callable[[], Configuration],
        clock: Clock,
    ) -> None:
        self._missing = missing
        self._view = view
        self._cameras = cameras
        self._current = current
        self._clock = clock

    async def look(self) -> tuple[Result, ...]:
        """Make them now."""
        await self._view.refresh()
        ill = set(await self._missing())
        return (
            _result("trace", "trace" not in ill, "répond", "ne répond pas"),
            _result("state-store", "state-store" not in ill, "répond", "ne répond pas, ou le nœud est à l'arrêt"),
            _result("records", "records" not in ill, "répond", "ne répond pas"),
            self._of_cameras(),
            *self._of_rights(),
        )

    def _of_cameras(self) -> Result:
        well = sum(camera.state is CameraState.AVAILABLE for camera in self._cameras.list())
        wanted = len(self._current().cameras)
        return Result("cameras", well > 0, f"{well} sur {wanted}")

    def _of_rights(self) -> tuple[Result, ...]:
        rights, now = self._view.current(), self._clock.now()
        orders = [] if rights is None else [order for order in rights.orders if order.state(now) == "in-force"]
        held = () if rights is None else rights.designations.values()
        designated = [each for each in held if each.administration is Administration.PP and each.holds(now)]
        sites = frozenset[str]() if rights is None else rights.sites
        return (
            Result("orders", bool(orders), f"{len(orders)} arrêté(s) en vigueur"),
            Result("designations", bool(designated), f"{len(designated)} agent(s) désigné(s)"),
            Result("sites", bool(sites), f"{len(sites)} site(s) déclaré(s)"),
        )


def open_life(
    records: Records,
    tracer: Tracer,
    keys: NodeKeys,
    clock: Clock,
    *,
    current: Callable[[], Configuration],
    look: Callable[[], Awaitable[tuple[Result, ...]]],
    changed: Callable[[], Awaitable[None]],
) -> LifeOffice:
    """Put it together. ``current`` is the configuration in force; ``changed`` has the node see what was recorded."""

    def convention() -> Convention:
        return current().convention.record()

    def delay() -> timedelta:
        return current().annexes.delay()

    sessions = records.database.sessions
    stores = Stores(
        ChangeStore(sessions, clock),
        WindowStore(sessions, clock),
        AnnexStore(sessions, clock),
        ConventionStore(sessions, clock),
    )
    acts = Acts(record=tracer.durable, changed=changed)
    signer = Signer(current().node.id, keys.trace.sign, write_key(keys.trace.public_key()).decode())
    return LifeOffice(
        stores,
        ChangeService(changes=stores.changes, windows=stores.windows, acts=acts, clock=clock),
        AnnexService(
            store=stores.annexes,
            acts=acts,
            delay=delay,
            draw=lambda: _diagram(current(), records.cameras),
        ),
        ConventionService(
            store=stores.conventions,
            acts=acts,
            convention=convention,
            look=look,
            signer=signer,
            clock=clock,
        ),
    )


def _diagram(configuration: Configuration, cameras: CameraStore) -> Document:
    """SYN's half of annex 1, of the configuration and the inventory as they are now."""
    described = tuple(each.record() for each in configuration.equipment) or usual_equipment()
    listed = cameras.list()
    sites = {camera.site for camera in listed}
    whole = with_inventory(described, cameras=len(listed), sites=len(sites))
    return drawn(whole, convention=configuration.convention.id)


def _result(check: str, passed: bool, well: str, ill: str) -> Result:
    return Result(check, passed, well if passed else ill)
