"""A PKCS#11 token in software: SoftHSM2, its keys made by OpenSC's pkcs11-tool."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from shutil import which

import pytest

from auth.trace.token_key import TokenPlace

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
ED25519 = "EC:edwards25519"
needs_token = pytest.mark.skipif(not MODULE.exists() or which("pkcs11-tool") is None, reason="apt: softhsm2 opensc")


def configured(folder: Path) -> Path:
    """What ``SOFTHSM2_CONF`` is to name for tokens that lie below a folder."""
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder / 'tokens'}\n")
    return folder / "softhsm2.conf"


def token_with(folder: Path, keys: Mapping[str, str]) -> TokenPlace:
    """A token with keys of these labels and kinds; the place of the first."""
    environment = {**os.environ, "SOFTHSM2_CONF": str(folder / "softhsm2.conf")}
    (folder / "pin").write_text("4721\n")
    init = ["softhsm2-util", "--init-token", "--free", "--label", "journal", "--pin", "4721", "--so-pin", "4721"]
    use = ["pkcs11-tool", "--module", str(MODULE), "--token-label", "journal", "--login", "--pin", "4721"]
    made = [
        [*use, "--keypairgen", "--key-type", kind, "--label", label, "--id", label.encode().hex()]
        for label, kind in keys.items()
    ]
    for command in (init, *made):
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
    return TokenPlace(MODULE, "journal", next(iter(keys)), folder / "pin")
