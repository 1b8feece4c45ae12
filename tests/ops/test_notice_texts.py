"""What the notices say, word for word (N12), in Paris time with UTC once, and what they never say (C16)."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camera_registry import french
from camera_registry.paris import PARIS
from ops.correspondence.matters import Act, Announced, Narrowed
from ops.errors import WordingError
from ops.incidents.events import Noted, NoticeKind, Recovered, Revised, Said, StepTold
from ops.interconnection import Author, Ground
from ops.notices import rendering
from ops.notices.discretion import WITHHELD, discreet
from ops.notices.letters import of_announcement, of_measure
from ops.notices.rendering import Wording, render
from ops.notices.wording import wording_of
from ops.parties import Party
from tests.ops.told import BACK, CHECKPOINT, LATE, NOTICES, SOON, STEP, T0, TERMS, incident, letters, measure, opened

WRITTEN = Path(__file__).parent / "letters"
LETTERS = letters()
TEMPLATES = sorted(Path(rendering.__file__).parent.joinpath("texts").glob("*.txt.j2"))
INSTANTS = st.datetimes(datetime(2020, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive by hypothesis' rule

INTERNAL = (
    "rtsp://admin:s3cret@10.78.1.20:554/Streaming/Channels/101",
    "http://10.78.1.20/onvif/device_service",
    "192.168.1.64",
    "10.0.0.5:8554",
    "172.16.0.0/12",
    "fd00:78::1:20",
    "3c:ef:8c:12:34:56",
    "enregistreur-3.syn.local",
)


def of(tells: NoticeKind, *said: Said, now: datetime = SOON) -> Wording:
    return wording_of(incident(*said), tells, TERMS, now)


def test_every_text_is_held_and_nothing_else_is() -> None:
    assert sorted(path.stem for path in WRITTEN.glob("*.txt")) == sorted(LETTERS)


@pytest.mark.parametrize("name", LETTERS)
def test_each_mail_says_what_is_written(name: str) -> None:
    # N12, N14, C11, C12, C13, N13, P07
    wording = LETTERS[name]
    assert f"Objet : {wording.subject}\n\n{wording.text}" == (WRITTEN / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", LETTERS)
def test_html_has_the_same_words_and_utc_stands_once(name: str) -> None:
    # N12
    wording = LETTERS[name]
    body = wording.html.partition("<body")[2].partition(">")[2].replace("<li>", "– ").replace("<br>", " ")
    shown = html.unescape(re.sub(r"<[^>]+>", " ", body))
    assert shown.split() == wording.text.split()
    assert wording.text.count(" UTC") == 1
    assert "\n" not in wording.subject


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_a_missing_fact_is_an_error_and_never_a_hole(template: Path) -> None:
    # N12
    with pytest.raises(WordingError, match="undefined"):
        render(template.name.removesuffix(".txt.j2"), {})


@pytest.mark.parametrize("name", LETTERS)
def test_nothing_is_left_of_the_template(name: str) -> None:
    assert re.search(r"[{}]|None|datetime|Author|(?<=\S)  ", LETTERS[name].text) is None


def test_each_hand_is_named_by_its_function() -> None:
    # N12: decided, or found
    said = [
        of(NoticeKind.CUT, opened(by=by)).text.partition("– Interruption : ")[2].partition("\n")[0].partition(", ")[2]
        for by in Author
    ]
    assert said == [
        "décidée par le service d'exploitation et de maintenance",
        "décidée par le responsable de la sécurité (RSSI)",
        "constatée sans intervention",
        "à l'échéance convenue",
    ]


@pytest.mark.parametrize(
    ("closed", "said"),
    [
        (0, "aucun Flux n'était en cours"),
        (1, "1 Flux en cours a été interrompu"),
        (10, "10 Flux en cours ont été interrompus"),
        (None, "le nombre de Flux interrompus est en cours d'établissement"),
    ],
)
def test_streams_are_counted(closed: int | None, said: str) -> None:
    assert f"en Temps différé ; {said}\n" in of(NoticeKind.CUT, opened(closed=closed)).text


def test_a_scope_that_a_person_gave_stands_instead() -> None:
    assert "– Périmètre : site de Trappes\n" in of(NoticeKind.CUT, opened(scope="site de\nTrappes")).text


def test_a_revised_t0_is_a_declared_one_and_moves_what_is_late() -> None:
    # N02
    revised = Revised(t0=T0 - timedelta(hours=1), reason="journal du commutateur")
    text = of(NoticeKind.CUT, opened(), revised, now=T0 + timedelta(hours=7, minutes=30)).text
    assert "le 21 novembre 2026 à 02 h 12 (heure de Paris ; 01:12 UTC), établie d'après la déclaration" in text
    assert "après l'expiration, le 21 novembre 2026 à 10 h 12, du délai de huit heures" in text


@pytest.mark.parametrize(
    ("after_t0", "late"), [(timedelta(hours=8), False), (timedelta(hours=8, microseconds=1), True)]
)
def test_late_begins_when_the_eight_hours_have_passed(after_t0: timedelta, late: bool) -> None:
    # C11
    assert ("Motif du retard" in of(NoticeKind.CUT, opened(), now=T0 + after_t0).text) is late


def test_why_it_is_late_is_said_even_where_nobody_wrote_it() -> None:
    # C11, N10
    unsent = of(NoticeKind.CUT, opened(), now=LATE).text
    assert "Motif du retard : aucun serveur de messagerie n'a pu prendre en charge ce courriel dans ce délai." in unsent
    found = wording_of(incident(opened(), at=LATE), NoticeKind.CUT, TERMS, LATE).text
    assert "Motif du retard : l'incident n'a été connu que le 21 novembre 2026 à 12 h 42." in found


def test_only_what_has_eight_hours_is_ever_late() -> None:
    assert "Motif du retard" not in of(NoticeKind.CUT, opened(Ground.SECURITY), now=LATE).text
    assert "Motif du retard" in of(NoticeKind.CUT, opened(Ground.DRILL), now=LATE).text  # N14: runs as what it plays


def test_each_point_detape_is_told_once_in_its_turn() -> None:
    second = StepTold(text="L'alimentation est rétablie.", next_by=T0 + timedelta(hours=8))
    told = incident(opened(), STEP, second)
    for nth, words in ((1, "en cours de remplacement"), (2, "est rétablie")):
        assert words in wording_of(told, NoticeKind.UPDATE, TERMS, SOON, nth=nth).text
    with pytest.raises(WordingError, match="no point d'étape 3"):
        wording_of(told, NoticeKind.UPDATE, TERMS, SOON, nth=3)


def test_nothing_is_restored_that_has_not_recovered() -> None:
    with pytest.raises(WordingError, match="not recovered"):
        of(NoticeKind.RESTORED, opened())


def test_an_incident_without_interruption_is_resolved_and_nothing_is_restored() -> None:
    quiet = opened(None, critical=True, stopped=None, closed=None)
    for tells in (NoticeKind.RESTORED, NoticeKind.CUT_AND_RESTORED):
        wording = of(tells, quiet, BACK, now=BACK.at)
        assert "rétabli" not in wording.subject
        assert "L'Interconnexion n'a pas été interrompue." in wording.text
        assert "demandés de nouveau" not in wording.text


def test_what_recovered_before_it_was_cut_was_interrupted_for_no_time() -> None:
    early = Recovered(at=T0, reason="rien à rétablir")
    assert "après une interruption de 0 s." in of(NoticeKind.RESTORED, opened(), early).text


def test_a_note_on_recordings_stands_as_it_was_written() -> None:
    note = Noted(about="recordings", text="indisponibles pour les caméras de Trappes")
    for tells, heading in ((NoticeKind.CUT, "Enregistrements"), (NoticeKind.RESTORED, "Enregistrements de la période")):
        assert f"– {heading} : {note.text}\n" in of(tells, opened(), note, BACK).text


def test_a_checkpoint_stands_in_the_text_as_it_is() -> None:
    # T04
    terms = type(TERMS)(TERMS.single_point, TERMS.cap, checkpoint=CHECKPOINT)
    wording = wording_of(incident(opened()), NoticeKind.CUT, terms, SOON)
    block = wording.text.partition("à conserver :\n\n")[2]
    assert "".join(line.removeprefix("    ") for line in block.splitlines(keepends=True)) == CHECKPOINT
    assert f"<pre>{html.escape(CHECKPOINT.rstrip())}</pre>" in wording.html


@pytest.mark.parametrize("address", INTERNAL)
def test_no_internal_address_and_no_secret_leaves(address: str) -> None:
    # C16: wherever a person or a program may have written one
    text = f"voir {address}, puis l'enregistreur"
    told = incident(
        opened(Ground.MAINTENANCE, reason=text, scope=text),
        *(Noted(about=about, text=text) for about in ("nature", "cause", "recordings")),
        StepTold(text=text, next_by=T0 + timedelta(hours=6)),
        Recovered(at=BACK.at, reason=text),
    )
    words = [wording_of(told, tells, TERMS, LATE) for tells in NOTICES]
    taken = measure(Act.BLOCKED, Narrowed.CAMERA, address, text)
    announced = Announced(reference="window-1-planned", to=(Party.PP,), subject=text, text=f"– {text}\n– {text}")
    words += [of_measure(taken, TERMS, T0), of_announcement(announced, TERMS, T0)]
    for wording in words:
        for shown in (wording.subject, wording.text, wording.html):
            assert address not in shown
            assert "s3cret" not in shown
            assert "10.78" not in shown
        assert WITHHELD in wording.text


@pytest.mark.parametrize(
    "plain", ["le 21/11/2026 à 03:12:45", "n° 78-2026-1", "12:30", "pvpp@pp.example", "3,5 Mb/s", "v1.2.3"]
)
def test_what_is_no_address_stays(plain: str) -> None:
    assert discreet(f"voir {plain}.") == f"voir {plain}."


def test_what_a_person_wrote_is_no_markup_and_no_line_of_ours() -> None:
    # N12: neither HTML nor a list item of a person's making
    said = opened(Ground.MAINTENANCE, reason="<script>x</script>\n– Motif : autre\r\nBcc: x@y.example")
    wording = of(NoticeKind.CUT, said)
    assert "– Objet : <script>x</script> – Motif : autre Bcc: x@y.example\n" in wording.text
    assert "&lt;script&gt;" in wording.html
    assert "<script" not in wording.html


@pytest.mark.parametrize(
    ("instant", "said"),
    [
        ("2026-11-21T02:12:59Z", "le 21 novembre 2026 à 03 h 12 (heure de Paris ; 02:12 UTC)"),
        ("2026-07-31T22:30:00Z", "le 1er août 2026 à 00 h 30 (heure de Paris ; 22:30 UTC la veille)"),
        ("2027-03-28T00:59:00Z", "le 28 mars 2027 à 01 h 59 (heure de Paris ; 00:59 UTC)"),
        ("2027-03-28T01:00:00Z", "le 28 mars 2027 à 03 h 00 (heure de Paris ; 01:00 UTC)"),
        ("2026-10-25T00:30:00Z", "le 25 octobre 2026 à 02 h 30 (heure de Paris ; 00:30 UTC)"),
        ("2026-10-25T01:30:00Z", "le 25 octobre 2026 à 02 h 30 (heure de Paris ; 01:30 UTC)"),
    ],
)
def test_both_changes_of_hour_are_written_right(instant: str, said: str) -> None:
    assert french.le_utc(datetime.fromisoformat(instant)) == said


def test_the_hour_that_comes_twice_says_which_it_is() -> None:
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert french.le(first) == "le 25 octobre 2026 à 02 h 30 (heure d'été)"
    assert french.le(first + timedelta(hours=1)) == "le 25 octobre 2026 à 02 h 30 (heure d'hiver)"
    assert french.moment_in_paris(first) == "25 octobre 2026 à 02 h 30 (heure de Paris, heure d'été)"
    for ordinary in (first - timedelta(hours=1), first + timedelta(hours=2)):
        assert "(" not in french.le(ordinary)


@given(instant=INSTANTS)
def test_what_is_written_is_that_minute_and_no_other(instant: datetime) -> None:
    read = re.fullmatch(
        r"le (\d+)(?:er)? (\S+) (\d{4}) à (\d\d) h (\d\d) \(heure de Paris ; (\d\d):(\d\d) UTC(?: la veille)?\)",
        french.le_utc(instant),
    )
    assert read is not None
    day, month, year, hour, minute, utc_hour, utc_minute = read.groups()
    local = datetime(int(year), french.MONTHS.index(month) + 1, int(day), int(hour), int(minute), tzinfo=PARIS)
    meant = [local.replace(fold=fold).astimezone(UTC) for fold in (0, 1)]
    assert instant.replace(second=0, microsecond=0) in [
        each for each in meant if (each.hour, each.minute) == (int(utc_hour), int(utc_minute))
    ]


@given(one=INSTANTS, apart=st.timedeltas(timedelta(minutes=1), timedelta(days=2)))
def test_two_minutes_are_never_written_alike(one: datetime, apart: timedelta) -> None:
    assert french.le(one) != french.le(one + apart)


@given(lasted=st.timedeltas(timedelta(), timedelta(days=4000)))
def test_a_duration_says_its_whole_minutes(lasted: timedelta) -> None:
    said = french.duration(lasted)
    if lasted < timedelta(minutes=1):
        assert said == f"{lasted.seconds} s"
        return
    read = re.fullmatch(r"(?:(\d+) jours? )?(?:(\d+) h )?(\d+) min", said)
    assert read is not None
    days, hours, minutes = (int(part or 0) for part in read.groups())
    assert timedelta(days=days, hours=hours, minutes=minutes) <= lasted
    assert lasted - timedelta(days=days, hours=hours, minutes=minutes) < timedelta(minutes=1)
    assert hours < 24
    assert minutes < 60


def test_what_ends_before_it_begins_has_no_duration() -> None:
    with pytest.raises(ValueError, match="negative"):
        french.duration(timedelta(seconds=-1))


def test_what_cannot_be_done_is_no_measure() -> None:
    for act, touches in ((Act.CLOSED, Narrowed.CAMERA), (Act.BLOCKED, Narrowed.STREAM)):
        with pytest.raises(ValueError, match="a stream is closed"):
            measure(act, touches, "x", "essai")
    with pytest.raises(ValueError, match="reference"):
        measure(Act.BLOCKED, Narrowed.CAMERA, "x", "essai", reference="m>1")
