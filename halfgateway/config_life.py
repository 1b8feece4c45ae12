"""The configuration of the convention's life: annexes and equipment. Read as part of :mod:`halfgateway.config`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field, model_validator

from halfgateway.sections import Section
from ops.annexes import LONGEST_DELAY
from ops.diagram import Equipment
from ops.errors import AnnexRefused
from ops.parties import Party

# The convention's life (:mod:`ops.annexes`)

_Text = Annotated[str, Field(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Id = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]


class AnnexesSection(Section):
    """How long a party has to oppose a new version of annexes 1 to 6; the convention gives no number (C07)."""

    opposition_days: Annotated[int, Field(ge=0, le=LONGEST_DELAY.days)] = 15

    def delay(self) -> timedelta:
        """As the annexes count it."""
        return timedelta(days=self.opposition_days)


class EquipmentSection(Section):
    """A piece of equipment in annex 1 (C20): who owns it, who pays for it, who may work on it, what it leads to.

    Texts name functions and rooms; what looks like an address is refused.
    """

    id: _Id
    label: _Text
    owner: Party
    payer: Party
    interveners: Annotated[tuple[_Text, ...], Field(min_length=1, max_length=8)]
    place: Annotated[str, Field(max_length=60)] = ""
    leads_to: Annotated[tuple[_Id, ...], Field(max_length=8)] = ()
    over: Annotated[str, Field(max_length=80)] = ""

    @model_validator(mode="after")
    def _names_no_address(self) -> EquipmentSection:
        try:
            self.record()
        except AnnexRefused as error:
            raise ValueError(str(error)) from error
        return self

    def record(self) -> Equipment:
        """As it is drawn."""
        return Equipment(**self.model_dump())
