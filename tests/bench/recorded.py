"""How the bench's gateway comes to the recorders: its configuration, and who may have recordings as files."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from auth.demo_authority import DemoAuthority
from tests.bench.footage import KINDS, SESSIONS
from tests.bench.identities import bench_identity

AGREEMENT: Final = "banc d'essai"


def recorded_document(folder: Path, authority: DemoAuthority, account: str, told: Mapping[str, Any]) -> dict[str, Any]:
    """What the configuration says of recordings, as the process that has the footage ``told``."""
    password = folder / "recorder.password"
    password.write_text(told["password"])
    known_as = {"username": told["username"], "password_file": str(password), "sessions": SESSIONS}
    of_kind = {
        "segments": {"folder": told["folder"]},
        "onvif": {"onvif_url": told["onvif_url"]} | known_as,
        "url": {"url": told["url"]} | known_as,
    }
    signer = authority.client("exports", datetime.now(UTC))
    return {
        "recorders": [
            {"kind": kind, "id": kind, "cameras": {bench_identity(camera).id: told["channels"][kind]}} | of_kind[kind]
            for camera, kind in enumerate(KINDS)
        ],
        "exports": {
            "agreement": AGREEMENT,
            "accounts": [account],
            "cameras": [bench_identity(camera).id for camera in range(len(KINDS))],
            "folder": str(folder / "exports"),
            "certificate": str(signer.certificate_path),
            "key": str(signer.key_path),
        },
    }
