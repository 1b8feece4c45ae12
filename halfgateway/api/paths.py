"""What a caller of the API must know: alone, so that who only calls it loads nothing else."""

from __future__ import annotations

API = "/api/v1"
"""Where it begins."""

BEHIND_SUDO = "Halfgateway-Sudo-User"
"""The header in which root's command says for whom it acts; nobody else's word is taken for it."""
