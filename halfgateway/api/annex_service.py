"""The API's annexes and charter, filled by :mod:`ops.annex_store`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import timedelta

from auth.principals import Principal
from auth.register import Actor
from halfgateway.api.acts import Acts, in_our_words
from halfgateway.api.life_shapes import AnnexRequest, AnnexShape, CharterShape, OppositionRequest
from halfgateway.api.operation import Attachment
from halfgateway.api.problems import Fault, InvalidCall, UnknownRecord
from halfgateway.control.life_entries import annex_entry, charter_entry
from ops import annexes
from ops.annex_store import AnnexStore
from ops.annexes import Annex, AnnexVersion, Document, MediaType
from ops.errors import AnnexRefused

_SUFFIX = {
    MediaType.JSON: "json",
    MediaType.PDF: "pdf",
    MediaType.SVG: "svg",
    MediaType.CSV: "csv",
    MediaType.TEXT: "txt",
}


class AnnexService:
    """Fills :class:`~halfgateway.api.life_ports.Annexes`.

    ``delay`` is how long a party has to oppose; ``draw`` draws SYN's half of annex 1 as it is now.
    """

    def __init__(
        self, *, store: AnnexStore, acts: Acts, delay: Callable[[], timedelta], draw: Callable[[], Document]
    ) -> None:
        self._store = store
        self._acts = acts
        self._delay = delay
        self._draw = draw

    async def annexes(self) -> Sequence[AnnexShape]:
        """See the port."""
        versions = await self._store.list_all()
        by_annex: defaultdict[Annex, list[AnnexVersion]] = defaultdict(list)
        for version in versions:
            by_annex[version.annex].append(version)
        served = {annex: annexes.served(found) for annex, found in by_annex.items()}
        return [AnnexShape.of(version, served=served[version.annex] == version) for version in versions]

    async def inform(self, annex: int, wish: AnnexRequest, *, by: Actor) -> AnnexShape:
        """See the port."""
        async with self._acts.act():
            version = await self._store.inform(
                Annex(annex),
                party=wish.party,
                summary=wish.summary,
                reference=wish.reference,
                document=self._document(Annex(annex), wish),
                by=by.account,
                delay=self._delay(),
                effective_at=wish.effective_at,
                traced=lambda version: self._acts.tell(annex_entry(version), by),
            )
        return AnnexShape.of(version, served=False)

    async def oppose(self, annex: int, version: int, wish: OppositionRequest, *, by: Actor) -> AnnexShape:
        """See the port."""
        async with self._acts.act():
            opposed = await self._store.oppose(
                Annex(annex),
                version,
                party=wish.party,
                reason=wish.reason,
                traced=lambda version: self._acts.tell(annex_entry(version), by),
            )
        return AnnexShape.of(opposed, served=False)

    async def document(self, annex: int, version: int) -> Attachment:
        """See the port."""
        with in_our_words():
            document = await self._store.document(Annex(annex), version)
        name = f"annexe-{annex}-v{version}.{_SUFFIX[document.media_type]}"
        return Attachment(document.content, document.media_type.value, name)

    async def diagram(self) -> Attachment:
        """See the port."""
        with in_our_words():
            return Attachment(self._draw().content, MediaType.SVG.value, "annexe-1.svg")

    async def charter(self, reader: Principal) -> CharterShape:
        """See the port."""
        found = await self._store.in_force(Annex.CHARTER)
        if found is None:
            raise UnknownRecord("Aucune version de la charte (annexe 7) n'est en vigueur.")
        version, document = found
        read = reader.agent is not None and await self._store.has_acknowledged(reader.agent, version.version)
        return CharterShape.of(version, document, acknowledged=read)

    async def acknowledge(self, version: int, *, reader: Principal, by: Actor) -> CharterShape:
        """See the port."""
        if reader.agent is None:
            raise InvalidCall([Fault(where="body", message="Ce compte n'est celui d'aucun agent désigné.")])
        async with self._acts.act():
            await self._store.acknowledge(
                reader.agent, version, lambda charter: self._acts.tell(charter_entry(charter), by)
            )
        return await self.charter(reader)

    def _document(self, annex: Annex, wish: AnnexRequest) -> Document:
        """What the version is to say. Raises AnnexRefused for what does not fit this annex."""
        given = {name for name in ("document", "sites", "orders") if getattr(wish, name) is not None}
        wanted = {Annex.VIEWING_SITES: "sites", Annex.ORDERS: "orders"}.get(annex, "document")
        if annex is Annex.DIAGRAMS and not given:
            return self._draw()
        if given != {wanted}:
            raise AnnexRefused(f"L'annexe {annex.value} est donnée par « {wanted} », et par rien d'autre.")
        if wish.sites is not None:
            return annexes.sites_document({site.id: site.label for site in wish.sites})
        if wish.orders is not None:
            return annexes.orders_document(wish.orders)
        if wish.document is None:
            raise AnnexRefused(f"L'annexe {annex.value} est un document.")
        return wish.document.record()
