"""How a command keeps the register of who may: through the running node, or in its place where none runs.

Either way it speaks to the node's own socket, so that there is one way in, and one writer of the journal.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlencode

import aiohttp

from auth.errors import AuthError
from camera_registry.errors import RegistryError
from camera_registry.paris import day_of, end_of_day, start_of_day
from halfgateway.api.paths import API, BEHIND_SUDO
from halfgateway.cli.common import REFUSED, account_name, configuration_in, named_folder, node_folder, say, stop
from halfgateway.errors import HalfGatewayError
from halfgateway.folder import DEMO_NODE, short_path
from ops.errors import OpsError

if TYPE_CHECKING:
    from halfgateway.config import Configuration

ANSWER_LIMIT_S = 60.0
"""How long the node may take for one call: a signed list of thousands is written entry by entry."""

PAGE = 500


class Refused(HalfGatewayError):
    """The register does not allow it; ``faults`` say why, in French."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class Office:
    """The register of the node that ``--config`` or ``--data`` names, for as long as this is entered."""

    def __init__(self, config: Path | None, data: Path | None) -> None:
        self._config, self._data = config, data
        self._folder = named_folder(config, None) if data is None else node_folder(None, data)
        self._life = AsyncExitStack()

    async def __aenter__(self) -> Office:
        """Come in; exits with 1 where the node's records or journal cannot be opened."""
        if not await self.somebody_answers():
            from halfgateway.app.office import office_without_a_node  # noqa: PLC0415 - all of a node: seconds to load

            await self._life.enter_async_context(office_without_a_node(configuration_of(self._config, self._data)))
        short = self._life.enter_context(short_path(self._folder))
        self._session = await self._life.enter_async_context(
            aiohttp.ClientSession(
                "http://local",
                connector=aiohttp.UnixConnector(short),
                headers={BEHIND_SUDO: account_name().removeprefix("local:")},
                timeout=aiohttp.ClientTimeout(total=ANSWER_LIMIT_S),
            )
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._life.aclose()

    async def call(self, method: str, path: str, body: object = None) -> Any:
        """One call; its JSON. Raises Refused."""
        async with self._session.request(method, API + path, json=body) as answer:
            document: Any = await answer.json(content_type=None) if answer.status != 204 else {}
        if answer.status < 300:
            return document
        raise _refusal(document)

    async def fetch(self, path: str) -> bytes:
        """The bytes of a file. Raises Refused."""
        async with self._session.get(API + path) as answer:
            if answer.status < 300:
                return await answer.read()
            raise _refusal(await answer.json(content_type=None))

    async def every(self, path: str, **query: str) -> list[dict[str, Any]]:
        """Every item of a list, page after page. Raises Refused."""
        items: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            page = await self.call("GET", f"{path}?{urlencode({**query, **cursor, 'limit': PAGE})}")
            items += page["items"]
            if page["next"] is None:
                return items
            cursor = {"cursor": page["next"]}

    async def somebody_answers(self) -> bool:
        """Whether a node, or another command in its place, holds the socket."""
        if not self._folder.run.is_dir():
            return False
        with short_path(self._folder) as short:
            try:
                _, writer = await asyncio.open_unix_connection(short)
            except (FileNotFoundError, ConnectionRefusedError):
                return False
        writer.close()
        return True


def require_node(config: Path | None, data: Path | None, fault: str) -> None:
    """Exit with 1 where no node runs, which alone knows what is asked."""
    node_folder(config, data)
    if not asyncio.run(Office(config, data).somebody_answers()):
        stop(REFUSED, fault)


def ask(config: Path | None, data: Path | None, method: str, path: str, body: object = None) -> Any:
    """One call to the register; exits with 1 where it is refused."""

    async def work(office: Office) -> Any:
        return await office.call(method, path, body)

    return run(config, data, work)


def ask_all(config: Path | None, data: Path | None, path: str, **query: str) -> list[dict[str, Any]]:
    """Every item of one of the register's lists; exits with 1 where that is refused."""

    async def work(office: Office) -> list[dict[str, Any]]:
        return await office.every(path, **query)

    found: list[dict[str, Any]] = run(config, data, work)
    return found


def run(config: Path | None, data: Path | None, work: Any) -> Any:
    """Do some work at the office; exits with 1 where it is refused or cannot be done."""

    async def at_the_office() -> Any:
        async with Office(config, data) as office:
            return await work(office)

    try:
        return asyncio.run(at_the_office())
    except Refused as refused:
        _refused(refused)
    except (HalfGatewayError, AuthError, OpsError, RegistryError, aiohttp.ClientError, OSError) as error:
        stop(REFUSED, str(error))


def save(config: Path | None, data: Path | None, path: str, output: Path, *, as_json: bool) -> None:
    """Write a file of the office into a new one; exits with 1 where it is refused, or is there already."""

    async def work(office: Office) -> bytes:
        return await office.fetch(path)

    content: bytes = run(config, data, work)
    try:
        with output.open("xb") as file:
            file.write(content)
    except OSError as error:
        stop(REFUSED, f"{output} : {error.strerror}")
    say({"file": str(output), "bytes": len(content)}, f"{output} : {len(content)} octets", as_json=as_json)


def begins(day: datetime | None) -> str:
    """The instant at which a day given on the command line begins in Paris; now where none is given."""
    return (start_of_day(day.date()) if day is not None else datetime.now(UTC)).isoformat()


def ends(day: datetime | None) -> str | None:
    """The instant at which a day given on the command line is over in Paris."""
    return end_of_day(day.date()).isoformat() if day is not None else None


def shown_day(instant: str) -> str:
    """A day of an answer, or the day in Paris that an instant of it falls on."""
    day = day_of(datetime.fromisoformat(instant)) if "T" in instant else date.fromisoformat(instant)
    return day.strftime("%d/%m/%Y")


def shown_last_day(end: str) -> str:
    """The last day of what is over at an instant of an answer."""
    return day_of(datetime.fromisoformat(end) - timedelta(microseconds=1)).strftime("%d/%m/%Y")


def shown_instant(instant: str | None) -> str:
    """An instant of an answer, or nothing, as a table for people shows it."""
    return "" if instant is None else f"{datetime.fromisoformat(instant).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _refusal(problem: Any) -> Refused:
    faults = [fault["message"] for fault in problem.get("faults", ())]
    return Refused(faults or [problem.get("detail") or problem["title"]])


def _refused(refused: Refused) -> NoReturn:
    stop(REFUSED, *refused.faults)


def configuration_of(config: Path | None, data: Path | None) -> Configuration:
    """How the node that does not run is configured: of a demo's folder as the demo has it."""
    from halfgateway.config import Configuration, ListenSection, NodeSection  # noqa: PLC0415 - as above
    from halfgateway.config_terms import ConventionSection  # noqa: PLC0415 - as above
    from halfgateway.demo import DemoError, configuration_at_rest  # noqa: PLC0415 - as above

    if data is None and config is not None:
        return configuration_in(config)
    folder = node_folder(config, data)
    try:
        return configuration_at_rest(folder.root)
    except DemoError:  # a folder that is yet to be a demo's
        return Configuration(
            node=NodeSection(id=DEMO_NODE, data=folder.root),
            convention=ConventionSection(in_force_from=datetime.now(UTC)),
            listen=ListenSection(https_port=None, rtsps_port=None),
        )
