"""The commands for cameras, run beside a node that is running."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import pytest

from auth.trace import Kind
from tests.databases import Kind as DatabaseKind
from tests.databases import databases
from tests.e2e.conftest import Gateway
from tests.e2e.nodes import toml_lines

pytestmark = pytest.mark.usefixtures("database_kind")


def named(gateway: Gateway) -> list[str]:
    """How a command is told of the node: a demo's folder says all, except where a database other than its own is."""
    configuration = gateway.node.configuration
    if databases.kind is DatabaseKind.SQLITE:
        return ["--data", str(gateway.data)]
    path = gateway.data / "gateway.toml"
    path.write_text("\n".join(toml_lines(configuration.model_dump(mode="json", exclude_none=True))))
    return ["--config", str(path)]


async def run(gateway: Gateway, *arguments: str) -> tuple[int, Any, str]:
    """Run a command beside the node; exit code, its JSON document, and everything that it said."""
    command = [sys.executable, "-m", "halfgateway", *arguments, "--json", *named(gateway)]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        output, complaint = await process.communicate()
    return process.returncode or 0, json.loads(output), (output + complaint).decode()


async def test_what_a_node_knows_is_listed_and_a_camera_examined_beside_it(gateway: Gateway) -> None:
    secrets = [record.connection.credentials for record in gateway.node.records.cameras.snapshot.records.values()]
    code, listed, said = await run(gateway, "camera", "list")
    assert (code, [each["id"] for each in listed["cameras"]]) == (0, gateway.cameras)
    assert {each["state"] for each in listed["cameras"]} == {"available"}
    code, shown, more = await run(gateway, "camera", "show", gateway.cameras[0])
    assert (code, shown["id"], list(shown["streams"])) == (0, gateway.cameras[0], ["main"])
    code, report, rest = await run(gateway, "doctor", gateway.cameras[0], "--seconds", "1")
    assert code == 0, report
    assert (report["ok"], report["camera"], report["profile"]) == (True, gateway.cameras[0], "main")
    assert await gateway.slots_used() == 0  # C01: the doctor takes no slot
    assert not [entry for entry in await gateway.trace() if entry.camera and entry.kind is not Kind.REGISTRY_CHANGED]
    for credentials in secrets:
        assert credentials is not None
        assert credentials.password not in said + more + rest  # C16
        assert f'"{credentials.username}"' not in said + more + rest
