"""Annexes 2 and 3: who is told what, on which day, and who may be in copy of whom (C13, C14, N13)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.contacts import Contact, ContactRole, Directory, check_copying
from ops.errors import CopyingRefused, NoContact
from ops.parties import Party

SINCE = date(2025, 10, 21)
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def contact(party: Party, role: ContactRole, email: str, **more: Any) -> Contact:
    level = 1 if role is ContactRole.ESCALATION else None
    employer = party if role is ContactRole.CONTRACTOR else None
    plain = Contact(
        function=f"{role} {party}", party=party, role=role, email=email, valid_from=SINCE, level=level,
        employer_party=employer,
    )  # fmt: skip
    return replace(plain, **more)


PP_MAILBOX = contact(Party.PP, ContactRole.FUNCTIONAL_MAILBOX, "pvpp@pp.example")
PP_POINT = contact(Party.PP, ContactRole.SINGLE_POINT, "point@pp.example")
PP_CONTRACTOR = contact(Party.PP, ContactRole.CONTRACTOR, "support@pvpp-mainteneur.example")
SYN_MAILBOX = contact(Party.SYN, ContactRole.FUNCTIONAL_MAILBOX, "dpp@syn.example")
SYN_POINT = contact(Party.SYN, ContactRole.SINGLE_POINT, "astreinte@syn.example", phone="01 00 00 00 03")
SYN_CONTRACTOR = contact(Party.SYN, ContactRole.CONTRACTOR, "support@mainteneur.example")
EVERYONE = (PP_MAILBOX, PP_POINT, PP_CONTRACTOR, SYN_MAILBOX, SYN_POINT, SYN_CONTRACTOR)


def test_a_notice_goes_to_pps_annex_with_syns_in_copy() -> None:
    # C11: annex 2, and nobody's contractor
    told = Directory(EVERYONE).of_a_notice(NOW)
    assert told.to == (PP_MAILBOX, PP_POINT)
    assert told.cc == (SYN_MAILBOX, SYN_POINT)
    check_copying(Party.SYN, told.everyone)


def test_a_word_goes_to_the_functional_mailbox_or_where_there_is_none_to_the_single_point() -> None:
    assert Directory(EVERYONE).of_a_word(NOW).addresses == ("pvpp@pp.example", "dpp@syn.example")
    few = Directory((PP_POINT, SYN_POINT)).of_a_word(NOW)
    assert few.addresses == ("point@pp.example", "astreinte@syn.example")


def test_what_pp_reports_is_answered_with_who_acts_on_it_in_copy() -> None:
    # C13: the single point of contact learns of it by that mail
    told = Directory(EVERYONE).of_a_report(NOW)
    assert (told.to, told.cc) == ((PP_MAILBOX,), (SYN_MAILBOX, SYN_POINT))
    assert Directory((PP_POINT, SYN_POINT)).of_a_report(NOW).addresses == ("point@pp.example", "astreinte@syn.example")


def test_an_address_is_told_once() -> None:
    twice = replace(PP_POINT, email="PVPP@pp.example")
    assert Directory((PP_MAILBOX, twice, SYN_POINT)).of_a_notice(NOW).to == (PP_MAILBOX,)


def test_a_contact_counts_on_its_days_in_paris() -> None:
    # 23:30 UTC is the next day in Paris
    only = replace(PP_MAILBOX, valid_from=date(2026, 11, 22), valid_to=date(2026, 11, 22))
    eve = datetime(2026, 11, 21, 22, 30, tzinfo=UTC)
    first, last = datetime(2026, 11, 21, 23, 30, tzinfo=UTC), datetime(2026, 11, 22, 22, 30, tzinfo=UTC)
    after = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)
    directory = Directory((only, SYN_POINT))
    assert [directory.annex_is_empty(Party.PP, at) for at in (eve, first, last, after)] == [True, False, False, True]


def test_an_annex_that_lapsed_still_tells_those_who_were_in_it_last() -> None:
    # N13, C11: no start without annex 2, but a notice never fails for it
    first = replace(PP_MAILBOX, email="a@pp.example", valid_to=date(2025, 12, 31))
    last = replace(PP_MAILBOX, email="b@pp.example", valid_to=date(2026, 10, 31))
    later = replace(PP_MAILBOX, email="c@pp.example", valid_from=date(2027, 1, 1), valid_to=date(2027, 12, 31))
    directory = Directory((first, last, later, SYN_POINT))
    assert directory.annex_is_empty(Party.PP, NOW)
    assert directory.of_a_notice(NOW).to == (last,)
    assert directory.of_a_word(NOW).to == (last,)


def test_who_was_never_there_is_told_as_missing() -> None:
    directory = Directory((SYN_MAILBOX,))
    with pytest.raises(NoContact, match="annexe 2"):
        directory.of_a_notice(NOW)
    with pytest.raises(NoContact, match="annexe 3"):
        directory.single_point(NOW)


def test_escalation_goes_up_its_levels() -> None:
    # C13
    levels = [contact(Party.PP, ContactRole.ESCALATION, f"n{n}@pp.example", level=n) for n in (3, 1, 2)]
    found = Directory(levels).of_role(Party.PP, ContactRole.ESCALATION, NOW)
    assert [each.level for each in found] == [1, 2, 3]


@pytest.mark.parametrize(
    ("sender", "recipients", "refused"),
    [
        (Party.SYN, [PP_MAILBOX, SYN_MAILBOX], False),
        (Party.SYN, [PP_CONTRACTOR], True),  # PP's contractor without PP
        (Party.SYN, [PP_CONTRACTOR, SYN_MAILBOX], True),
        (Party.SYN, [PP_CONTRACTOR, PP_MAILBOX], False),
        (Party.PP, [SYN_CONTRACTOR], True),  # the other way round
        (Party.PP, [SYN_CONTRACTOR, SYN_POINT], False),
        (Party.SYN, [SYN_CONTRACTOR], False),  # internal to SYN: not copied to PP (C16)
        (Party.SYN, [SYN_CONTRACTOR, PP_CONTRACTOR], True),
        (Party.SYN, [SYN_CONTRACTOR, PP_CONTRACTOR, PP_POINT], False),
        (Party.SYN, [SYN_CONTRACTOR, PP_MAILBOX], False),
        (Party.PP, [SYN_CONTRACTOR, PP_MAILBOX], True),
    ],
)
def test_contractors_cross_the_border_only_with_both_parties_in_copy(
    sender: Party, recipients: list[Contact], refused: bool
) -> None:
    # C14
    if refused:
        with pytest.raises(CopyingRefused, match="article 8"):
            check_copying(sender, recipients)
    else:
        check_copying(sender, recipients)


@given(recipients=st.lists(st.sampled_from(EVERYONE), min_size=1), sender=st.sampled_from(Party))
def test_what_is_let_through_has_both_parties_or_stays_on_one_side(recipients: list[Contact], sender: Party) -> None:
    # C14: said again from the message's point of view
    try:
        check_copying(sender, recipients)
    except CopyingRefused:
        return
    sides = {sender} | {each.side for each in recipients}
    in_copy = {sender} | {each.party for each in recipients if not each.is_contractor}
    assert sides == {sender} or in_copy == set(Party) or not any(each.is_contractor for each in recipients)


@pytest.mark.parametrize("stranger", [PP_MAILBOX, PP_CONTRACTOR])
def test_an_internal_message_never_carries_pp(stranger: Contact) -> None:
    # C14, C16
    check_copying(Party.SYN, [SYN_CONTRACTOR, SYN_MAILBOX], internal=True)
    with pytest.raises(CopyingRefused, match="interne"):
        check_copying(Party.SYN, [SYN_CONTRACTOR, stranger], internal=True)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"email": "pvpp"}, "mailbox"),
        ({"email": "a b@pp.example"}, "mailbox"),
        ({"email": "a..b@pp.example"}, "mailbox"),
        ({"email": "pvpp@pp.example\r\nBcc: x@y.example"}, "mailbox"),
        ({"email": f"{'a' * 65}@pp.example"}, "mailbox"),
        ({"function": ""}, "function"),
        ({"function": "Permanence\r\nBcc: x@y.example"}, "function"),
        ({"phone": "à demander"}, "telephone"),
        ({"level": 1}, "level"),
        ({"role": ContactRole.ESCALATION}, "level"),
        ({"role": ContactRole.ESCALATION, "level": 0}, "level"),
        ({"employer_party": Party.PP}, "employer_party"),
        ({"role": ContactRole.CONTRACTOR}, "employer_party"),
        ({"valid_to": date(2025, 10, 20)}, "valid_to"),
    ],
)
def test_a_contact_that_cannot_be_is_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        replace(PP_MAILBOX, **wrong)
