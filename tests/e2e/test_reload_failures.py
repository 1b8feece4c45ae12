"""A reload that cannot be traced, or whose accounts cannot be read, changes nothing (T01)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from auth.errors import RecordsUnavailableError
from auth.trace import Draft, Kind
from auth.trace import TraceUnavailable as JournalUnavailable
from auth.trace.reader import TraceReader
from halfgateway.app import Node, running_node
from halfgateway.config import ConfigurationError, ConfigurationFile
from halfgateway.errors import Refusal, StateStoreUnavailable, TraceUnavailable
from tests.contacts import CONTACTS
from tests.e2e.conftest import until
from tests.e2e.nodes import toml_lines

DOCUMENT = """
log_level = "{level}"
node = {{ id = "alone", data = "data" }}
listen = {{ http_port = "off", https_port = false, rtsp_port = 0, rtsps_port = "off" }}
convention = {{ in_force_from = 2025-10-21T00:00:00Z, cap = {cap} }}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.toml"
    write(path, cap=10)
    return path


def write(path: Path, *, cap: int, level: str = "info") -> None:
    path.write_text(DOCUMENT.format(cap=cap, level=level) + "\n".join(toml_lines({"contacts": CONTACTS})))


@asynccontextmanager
async def node_of(path: Path, hung_up: asyncio.Event | None = None) -> AsyncIterator[Node]:
    file = ConfigurationFile.read(path)
    async with running_node(file.configuration, file=file, hung_up=hung_up) as node:
        yield node


async def test_ports_that_are_off_are_not_listened_on(path: Path) -> None:
    async with node_of(path) as node:
        urls = node.endpoints.urls("127.0.0.1")
        assert [scheme for scheme, url in urls.items() if url is not None] == ["rtsp"]


@pytest.mark.parametrize(
    ("failing", "failure", "refusal"),
    [
        ("journal", JournalUnavailable("no space left"), TraceUnavailable),
        ("accounts", RecordsUnavailableError(), StateStoreUnavailable),
    ],
)
async def test_what_cannot_be_traced_or_read_changes_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, failure: Exception, refusal: type[Refusal]
) -> None:
    async def fail(draft: Draft | None = None) -> None:
        raise failure

    async with node_of(path) as node:
        before = node.configuration
        write(path, cap=5)
        with monkeypatch.context() as patch:
            if failing == "journal":
                patch.setattr(node.journal, "record", fail)
            else:
                patch.setattr(node.records.accounts, "digest_secrets", fail)
            with pytest.raises(refusal):
                await node.in_force.reload(account="ops", source="local")
        assert node.configuration is before
        assert await node.control.slots.usage() == (0, 10)
        assert (await node.in_force.reload(account="ops", source="local")).changed == ("convention.cap",)
        assert await node.control.slots.usage() == (0, 5)


async def test_a_hang_up_that_came_while_it_started_is_heeded(path: Path) -> None:
    hung_up = asyncio.Event()
    hung_up.set()
    file = ConfigurationFile.read(path)
    write(path, cap=4)
    async with running_node(file.configuration, file=file, hung_up=hung_up) as node:
        await until(lambda: node.configuration.convention.cap == 4)
        write(path, cap=-1)
        hung_up.set()
        await until(lambda: not hung_up.is_set())

        async def refused() -> list[str | None]:
            page = await TraceReader.of(node.journal.folder, "alone").entries(limit=100)
            return [entry.account for entry in page.items if entry.kind is Kind.ACTION_REFUSED]

        await until(refused)
        assert await refused() == ["local-os"]
        assert not node.failed.is_set()


async def test_a_reload_that_leaves_nobody_to_be_told_is_refused(path: Path) -> None:
    # N13
    async with node_of(path) as node:
        path.write_text(DOCUMENT.format(cap=5, level="info"))
        with pytest.raises(ConfigurationError, match="annexe 2 est vide"):
            await node.in_force.reload(account="ops", source="local")
        assert node.configuration.convention.cap == 10


async def test_a_node_that_was_not_started_from_a_file_has_none_to_read(path: Path) -> None:
    async with running_node(ConfigurationFile.read(path).configuration) as node:
        with pytest.raises(ConfigurationError, match="not started from a configuration file"):
            await node.in_force.reload(account="ops", source="local")
