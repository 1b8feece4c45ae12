"""Where the API begins: alone, so that who only calls it loads nothing else."""

from __future__ import annotations

API = "/api/v1"
