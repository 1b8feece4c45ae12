"""docs/integration-pp.md: its commands, as they stand there, get a ticket from a running gateway."""

from __future__ import annotations

import asyncio
import json
import os
import re
from datetime import datetime, timedelta
from pathlib import Path

from auth.assertions import KNOWN_METHODS, MAX_ASSERTION_CHARS
from auth.trace import Kind
from tests.e2e.conftest import Gateway
from tests.e2e.test_asserted import admit
from tests.players import needs_ffmpeg
from tests.replay.filmed import first_clean, instants_in_file
from tests.rights import SERVICE

PAGE = (Path(__file__).parents[2] / "docs" / "integration-pp.md").read_text(encoding="utf-8")


@needs_ffmpeg
async def test_an_assertion_made_by_openssl_gets_a_ticket(gateway: Gateway, tmp_path: Path) -> None:  # C08
    ready = gateway.ready
    machine, room = ready["accounts"]["machine"], ready["accounts"]["supervisor"]
    agreed = {
        "GATEWAY": ready["https"],
        "CA": ready["ca"],
        "CERT": machine["certificate"],
        "KEY": machine["key"],
        "ID": machine["id"],
        "SECRET": machine["password"],
        "ASSERTION_KEY": machine["assertion_key"],
        "ISSUER": ready["assertions"]["issuer"],
        "AUDIENCE": ready["assertions"]["audience"],
        "CAMERA": gateway.cameras[0],
        "ROOM_CERT": room["certificate"],
        "ROOM_KEY": room["key"],
        "ROOM_ID": room["id"],
        "ROOM_PASSWORD": room["password"],
    }
    await admit(gateway, "pp-agent-18", SERVICE)
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    (asking,) = [block for block in blocks if "--output ticket.json" in block]
    script = "set -euo pipefail\n" + "\n".join([*blocks, asking.replace("ticket.json", "again.json")])
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", script, cwd=tmp_path, env=os.environ | agreed, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    printed = ["201", "201", "204", "201", "200", "204", "403"]
    assert output.decode().split() == printed, "and no second one by one assertion"
    ticket, again = (json.loads((tmp_path / name).read_text()) for name in ("ticket.json", "again.json"))
    assert ticket["camera"] == gateway.cameras[0]
    assert again["type"].endswith(":assertion-invalid")
    wanted, found = (json.loads((tmp_path / name).read_text()) for name in ("recorded.json", "recordings.json"))
    assert (wanted["mode"], found["camera"]) == ("recorded", gateway.cameras[0])
    shown = await asyncio.to_thread(instants_in_file, str(tmp_path / "recorded.mp4"))  # T13
    (asked,) = await gateway.traced(lambda entry: entry.kind is Kind.STREAM_REQUESTED and entry.mode == "recorded")
    start = datetime.fromisoformat(asked.detail["start"])
    assert first_clean(start) == shown[0]
    assert start + timedelta(seconds=4) < shown[-1] <= start + timedelta(seconds=5)
    accepted, _, of_relief = await gateway.traced(lambda entry: entry.kind is Kind.ASSERTION_ACCEPTED)
    assert of_relief.agent == "pp-agent-18"
    (handed,) = await gateway.traced(lambda entry: entry.kind is Kind.STREAM_HANDED_OVER)  # S15
    assert (handed.stream, handed.agent, handed.detail["from_agent"]) == (ticket["id"], "pp-agent-18", "pp-agent-17")
    _, listed = await gateway.call("supervisor", "GET", "/reservations")  # S16
    assert [(each["service"], each["slots"]) for each in listed["items"]] == [("DOPC", 1)]
    assert (accepted.agent, accepted.detail["key"]) == ("pp-agent-17", machine["assertion_kid"])


def test_the_page_tells_the_bounds_that_hold() -> None:
    assert f"{MAX_ASSERTION_CHARS:,} characters" in PAGE
    assert all(f"`{method}`" in PAGE for method in KNOWN_METHODS)
