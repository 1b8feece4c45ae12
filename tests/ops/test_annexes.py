"""The annexes' versions: by information and silence, or by avenant; an opposed one is never served (C07, C20)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops import annexes
from ops.annexes import Annex, AnnexVersion, Document, MediaType
from ops.diagram import Equipment, drawn, usual_equipment, with_inventory
from ops.errors import AnnexRefused
from ops.parties import Party

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
DAY = timedelta(days=1)
TEXT = Document(b"Charte", MediaType.TEXT)


def version(annex: Annex = Annex.VIEWING_SITES, number: int = 1, **changes: object) -> AnnexVersion:
    usual = annexes.propose(
        annex,
        versions=(),
        party=Party.PP,
        summary="nouveau site",
        reference="avenant 1" if annex.by_avenant else None,
        document=TEXT,
        by="officer",
        now=NOW,
        delay=15 * DAY,
    )
    return replace(usual, version=number, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("annex", Annex)
def test_each_annex_changes_as_article_11_says(annex: Annex) -> None:
    proposed = version(annex)
    assert proposed.is_pending
    assert (proposed.effective_at == NOW) == annex.by_avenant == (annex.value >= 7)
    assert annexes.comes_into_force(proposed, NOW) == annex.by_avenant
    assert annexes.comes_into_force(proposed, NOW + 15 * DAY)
    assert not annexes.comes_into_force(replace(proposed, opposed_at=NOW), NOW + 99 * DAY)


def propose(annex: Annex, **changes: object) -> AnnexVersion:
    usual: dict[str, object] = {
        "versions": (),
        "party": Party.SYN,
        "summary": "s",
        "reference": None,
        "document": TEXT,
        "by": "officer",
        "now": NOW,
        "delay": DAY,
    }
    return annexes.propose(annex, **(usual | changes))  # type: ignore[arg-type]


def test_what_article_11_does_not_allow_is_refused() -> None:
    for annex, changes in (
        (Annex.CHARTER, {}),  # no avenant
        (Annex.ORDERS, {}),
        (Annex.CAMERAS, {"effective_at": NOW}),  # no day of one's own
        (Annex.CAMERAS, {"document": Document(b"", MediaType.TEXT)}),
        (Annex.CAMERAS, {"document": Document(bytes(annexes.MAX_DOCUMENT_BYTES + 1), MediaType.PDF)}),
        (Annex.VIEWING_SITES, {"versions": (version(),)}),  # one waits already
    ):
        with pytest.raises(AnnexRefused):
            propose(annex, **changes)
    assert propose(Annex.CHARTER, reference="avenant 2", effective_at=NOW + 9 * DAY).effective_at == NOW + 9 * DAY


def test_only_the_co_contractant_opposes_and_no_avenant() -> None:
    annexes.require_opposable(version(), Party.SYN)
    for opposed, party in (
        (version(), Party.PP),
        (version(opposed_at=NOW), Party.SYN),
        (version(Annex.CHARTER), Party.SYN),
    ):
        with pytest.raises(AnnexRefused):
            annexes.require_opposable(opposed, party)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=8))
def test_an_opposed_version_is_never_the_one_served(story: list[tuple[bool, bool]]) -> None:
    versions = [
        version(number=number, in_force_at=NOW if in_force else None, opposed_at=NOW if opposed else None)
        for number, (in_force, opposed) in enumerate(story, start=1)
    ]
    served = annexes.served(versions)
    standing = [number for number, (in_force, opposed) in enumerate(story, start=1) if in_force and not opposed]
    assert (served.version if served is not None else None) == max(standing, default=None)


def test_sites_and_orders_are_read_back_as_they_were_declared() -> None:
    sites = annexes.sites_document({"PP-CITE": "Cité", "PP-17": "Commissariat du 17e"})
    assert annexes.sites_of(sites.content) == {"PP-CITE", "PP-17"}
    assert annexes.orders_of(annexes.orders_document(["78-2", "78-1", "78-2"]).content) == {"78-1", "78-2"}
    with pytest.raises(AnnexRefused):
        annexes.sites_document({"un site": "espace"})
    for damaged in (b"", b"{}", b'{"sites": [1]}', b'{"sites": [{"id": 3}]}', b"[" * 5000):
        with pytest.raises(AnnexRefused):
            annexes.sites_of(damaged)


def test_syns_half_of_annex_1_is_drawn_the_same_from_the_same_equipment() -> None:
    # C20: with its table: owner, who pays, who may intervene
    equipment = with_inventory(usual_equipment(), cameras=312, sites=48)
    document = drawn(equipment, convention="syn-pp")
    assert document == drawn(equipment, convention="syn-pp")
    drawing = ElementTree.fromstring(document.content)
    texts = [each.text for each in drawing.iter("{http://www.w3.org/2000/svg}text")]
    for wanted in ("Demi-Passerelle Partenaire", "Propriétaire", "À la charge de", "Intervention"):
        assert wanted in texts
    assert "312 caméra(s) mises à disposition, 48 site(s)" in texts


@pytest.mark.parametrize("text", ["10.78.1.20", "rtsp://camera", "root@passerelle", "fe80::1", "passerelle:8322"])
def test_no_address_gets_into_annex_1(text: str) -> None:
    # C16
    with pytest.raises(AnnexRefused, match="adresse"):
        Equipment("a", text, Party.SYN, Party.SYN, ("exploitation",))


def test_a_drawing_that_leads_nowhere_is_refused() -> None:
    gateway, other = usual_equipment()
    for wrong in ((gateway,), (gateway, other, other), tuple(replace(other, id=f"e-{n}") for n in range(41))):
        with pytest.raises(AnnexRefused):
            drawn(wrong, convention="c")
