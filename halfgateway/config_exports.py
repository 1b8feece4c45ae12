"""What the configuration says of exports (L14, L15): off, unless both parties have agreed to them.

Read as part of :mod:`halfgateway.config`.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import Field

from halfgateway.exporting.rules import ExportRules
from halfgateway.exporting.signing import ManifestSigner
from halfgateway.sections import Name, Section, Shown


class ExportsSection(Section):
    """Who may have which cameras' footage as files, and within which bounds.

    ``agreement`` is the reference of what allows it in the convention or an *avenant*. ``certificate`` and ``key``
    (PEM) sign the manifests: the signer's certificate first, then those that lead to its authority. An export is of
    at most ``max_duration_s`` seconds of footage and ``max_bytes`` bytes, lies in ``folder`` for ``kept_hours``, and
    ``at_once`` are made together, each in a slot of the convention's.
    """

    agreement: Shown
    accounts: Annotated[tuple[str, ...], Field(min_length=1)]
    cameras: Annotated[tuple[Name, ...], Field(min_length=1)]
    folder: Path
    certificate: Path
    key: Path
    max_duration_s: Annotated[float, Field(gt=0, le=86_400)] = 4 * 3600.0
    max_bytes: Annotated[int, Field(ge=1 << 20, le=1 << 40)] = 20 << 30
    kept_hours: Annotated[float, Field(gt=0, le=168)] = 24.0
    at_once: Annotated[int, Field(ge=1, le=4)] = 1

    def signer(self) -> ManifestSigner:
        """Who signs. Raises ValueError, OSError where the certificate and its key cannot be used."""
        return ManifestSigner.read(self.certificate, self.key)

    def record(self) -> ExportRules:
        """As exports are decided by it."""
        return ExportRules(
            agreement=self.agreement,
            accounts=frozenset(self.accounts),
            cameras=frozenset(self.cameras),
            folder=self.folder,
            max_duration=timedelta(seconds=self.max_duration_s),
            max_bytes=self.max_bytes,
            kept=timedelta(hours=self.kept_hours),
            at_once=self.at_once,
        )
