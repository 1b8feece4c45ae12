"""The ONVIF library, imported without what it does to logging and to the environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys

_PROGRAM = """
import asyncio, json, logging, os, sys
import camera_registry.onvif_client
from camera_registry.clock import SystemClock
from camera_registry.guard import CredentialGuard
from camera_registry.hosts import AllowedHosts
before = "onvif" in sys.modules
clock = SystemClock()
opener = camera_registry.onvif_client.onvif_opener(
    allowed=AllowedHosts(["127.0.0.1"]), guard=CredentialGuard(clock), clock=clock, random_bytes=os.urandom
)
async def ask():
    async with opener("http://127.0.0.1:1/onvif/device_service", None) as device:
        try:
            await device.clock()
        except camera_registry.onvif_client.RegistryError as error:
            return error.cause
cause = asyncio.run(ask())
root = logging.getLogger()
print(json.dumps([before, "onvif" in sys.modules, cause, root.level, len(root.handlers), os.environ.get("http_proxy")]))
"""


def test_importing_it_changes_nothing_of_the_process() -> None:
    environment = {**os.environ, "http_proxy": "http://proxy.example:3128"}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=60, check=True, env=environment
    )
    assert json.loads(done.stdout) == [False, True, "unreachable", 30, 0, "http://proxy.example:3128"]
    assert done.stderr == ""
