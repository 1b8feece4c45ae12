"""What lets people export: the agreement, as a configuration has it, and the habilitation that it takes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from auth.demo_authority import DemoAuthority
from camera_registry.clock import SystemClock
from halfgateway.config_exports import ExportsSection
from halfgateway.demo import MACHINE

OPERATOR = "pp-operator-01"
"""The account of the demo's operator."""

WATCH_AND_EXPORT = {
    "role": "operator",
    "actions": ["live", "recorded", "export"],
    "start": "2026-01-01T00:00:00Z",
    "authority": "préfet de police",
    "reference": "PP-17",
}
"""The habilitation, but for its agent."""


def agreed_exports(folder: Path, cameras: Iterable[str]) -> ExportsSection:
    """That the demo's operator and machine may export these cameras, below ``folder``."""
    now = SystemClock().now()
    issued = DemoAuthority.open(folder / "signers", now).client("exports", now)
    return ExportsSection(
        agreement="avenant n° 3",
        accounts=(OPERATOR, MACHINE),
        cameras=tuple(cameras),
        folder=folder / "exports",
        certificate=issued.certificate_path,
        key=issued.key_path,
    )
