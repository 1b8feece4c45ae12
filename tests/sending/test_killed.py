"""kill -9 between any two steps of the notifier leaves one logical notice (N01)."""

from __future__ import annotations

import asyncio
import json
import sys
from email import message_from_bytes
from pathlib import Path

from tests.sending.stage import PP, mail_server


async def test_killed_at_any_step_it_is_one_notice(tmp_path: Path) -> None:
    # N01: same Message-ID, same bytes; only a death between the server's answer and the book's line sends it twice
    async with mail_server() as server:
        helper = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.sending.killed_notifier", str(server.port), str(tmp_path),
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await helper.communicate()
        deaths = json.loads(out)
        assert len(deaths) >= 10  # before and after each write, each read, and the conversation
        assert {death["events_at_death"] for death in deaths} >= {1, 2}
        twice = 0
        for death in deaths:
            assert death["notices"] == ["cut-1"], death
            assert death["queued"] == 1
            assert death["informed"]
            assert not death["damaged"]
            mails = [
                content
                for content in server.mails_of(PP[0])
                if message_from_bytes(content)["Message-ID"] == death["message_ids"][0]
            ]
            assert len(set(mails)) == 1
            twice += len(mails) - 1
        assert 1 <= twice <= 3
