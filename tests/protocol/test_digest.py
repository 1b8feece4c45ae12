"""Digest, both sides: vectors of the RFCs, real peers' captures, and what a server must not give away (T6)."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halfgateway.errors import LocalProtocolError
from halfgateway.protocol.connection import Role
from halfgateway.protocol.digest import (
    NONCE_MAX_AHEAD_S,
    Algorithm,
    Challenge,
    DigestVerifier,
    Outcome,
    Secrets,
    authorise,
    best,
    ha1,
    parse_challenges,
)
from halfgateway.protocol.messages import Request
from halfgateway.protocol.uri import same_resource
from tests.protocol.feeding import corpus, hear

REALM = "halfgateway"
KEY = b"0123456789abcdef"
NOW_S = 1_800_000_000.25
LIFE_S = 30.0
URI = "rtsp://gw.example:8554/live/cam-7"
SECRETS = {
    "ticket-1": Secrets(
        ha1("ticket-1", REALM, "pass_word-1", Algorithm.MD5),
        ha1("ticket-1", REALM, "pass_word-1", Algorithm.SHA256),
    )
}


@pytest.fixture
def verifier() -> DigestVerifier:
    return DigestVerifier(REALM, KEY, LIFE_S)


def answer(challenge: str, *, username: str = "ticket-1", password: str = "pass_word-1", uri: str = URI) -> str:
    (parsed,) = parse_challenges([challenge])
    return authorise(parsed, username, password, "SETUP", uri, nonce_count=1, cnonce="c")


def test_rfc_2617_section_3_5() -> None:
    (challenge,) = parse_challenges(
        [
            'Digest realm="testrealm@host.com", qop="auth,auth-int", '
            'nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"'
        ]
    )
    value = authorise(challenge, "Mufasa", "Circle Of Life", "GET", "/dir/index.html", nonce_count=1, cnonce="0a4f113b")
    assert 'response="6629fae49393a05397450978507c4ef1"' in value
    assert 'opaque="5ccc069c403ebaf9f0171e9517f40e41"' in value
    assert "qop=auth, nc=00000001" in value
    assert "algorithm" not in value


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_rfc_7616_section_3_9_1(algorithm: str, response: str) -> None:
    (challenge,) = parse_challenges(
        [
            f'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm}, '
            'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", '
            'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
        ]
    )
    value = authorise(
        challenge,
        "Mufasa",
        "Circle of Life",
        "GET",
        "/dir/index.html",
        nonce_count=1,
        cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    )
    assert f'response="{response}"' in value
    assert f"algorithm={algorithm}" in value


def test_md5_sess_hashes_the_nonces_into_the_secret() -> None:
    (challenge,) = parse_challenges(['Digest realm="r", nonce="n", algorithm=MD5-sess'])
    value = authorise(challenge, "u", "p", "PLAY", "rtsp://h/", nonce_count=1, cnonce="c")

    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    assert f'response="{md5(md5(md5("u:r:p") + ":n:c") + ":n:" + md5("PLAY:rtsp://h/"))}"' in value
    assert 'cnonce="c"' in value
    assert "algorithm=MD5-sess" in value


@pytest.mark.parametrize("name", ["ffmpeg-5.1-client.bin", "gstreamer-1.22-client.bin"])
def test_real_clients_and_ours_answer_a_challenge_alike(name: str) -> None:
    # T6
    heard = hear([corpus(".bin")[name]], Role.SERVER).items
    requests = [item for item in heard if isinstance(item, Request) and "Authorization" in item.headers]
    assert len(requests) == 5
    for request in requests:
        theirs = request.headers.get("Authorization", "")
        assert theirs
        (parsed,) = parse_challenges([theirs])
        ours = authorise(parsed, "cam", "secret", request.method, request.uri, nonce_count=1, cnonce="c")
        assert ours == theirs


CHALLENGES = {
    'Digest realm="a", nonce="b"': [("a", "b", Algorithm.MD5, False)],
    'digest REALM = "a" ,nonce=b,, stale="TRUE"': [("a", "b", Algorithm.MD5, True)],
    'Digest realm="a", nonce="b", stale=false': [("a", "b", Algorithm.MD5, False)],
    'Digest realm="a, \\"b\\"", nonce="c"': [('a, \\"b\\"', "c", Algorithm.MD5, False)],
    'Digest realm="a", nonce="b", algorithm="SHA-256", Basic realm="c"': [
        ("a", "b", Algorithm.SHA256, False),
        ("c", "", None, False),
    ],
    'Negotiate, Basic realm="c"': [("c", "", None, False)],
    "Basic": [("", "", None, False)],
    'Digest realm="a", nonce="b", algorithm=SHA-512-256': [],
    'Digest realm="a", nonce="b", qop="auth-int"': [],
    'Digest realm="a"': [],
    'realm="a", nonce="b"': [],
    'Digest realm="a", nonce="never closed': [("a", "", Algorithm.MD5, False)],
    "": [],
}


@pytest.mark.parametrize("value", CHALLENGES)
def test_challenges_are_read_as_far_as_we_can_answer_them(value: str) -> None:
    found = [(c.realm, c.nonce, c.algorithm, c.stale) for c in parse_challenges([value])]
    assert found == CHALLENGES[value]


def test_the_strongest_challenge_is_taken_and_the_first_of_equals() -> None:
    values = ['Basic realm="x"', 'Digest realm="m", nonce="1"', 'Digest realm="n", nonce="2"']
    md5_first = best(parse_challenges(values))
    assert md5_first is not None
    assert md5_first.realm == "m"
    sha = best(parse_challenges([*values, 'Digest realm="s", nonce="3", algorithm=sha-256']))
    assert sha is not None
    assert sha.algorithm is Algorithm.SHA256
    assert best(parse_challenges(values[:1])) == Challenge("x")
    assert best(()) is None


def test_basic_and_quotes_in_a_user_name() -> None:
    assert authorise(Challenge("x"), "a", "b:c", "GET", "/", nonce_count=1, cnonce="c") == "Basic YTpiOmM="
    (challenge,) = parse_challenges(['Digest realm="r", nonce="n"'])
    value = authorise(challenge, 'a"\\b', "p", "GET", "/", nonce_count=1, cnonce="c")
    assert 'username="a\\"\\\\b"' in value


@pytest.mark.parametrize(
    ("username", "uri", "count", "cnonce"),
    [
        ("a\r\nX: y", "/", 1, "c"),
        ("a", '/"', 1, "c"),
        ("a", "/\r\n", 1, "c"),
        ("a", "/", 0, "c"),
        ("a", "/", 2**32, "c"),
        ("a", "/", 1, 'c"'),
    ],
)
def test_nothing_is_smuggled_into_authorization(username: str, uri: str, count: int, cnonce: str) -> None:
    with pytest.raises(LocalProtocolError):
        authorise(Challenge("x"), username, "p", "GET", uri, nonce_count=count, cnonce=cnonce)


def test_the_challenges_have_the_very_bytes_that_old_clients_scan_for(verifier: DigestVerifier) -> None:
    sha, md5 = verifier.challenges(NOW_S)
    nonce = md5.removeprefix(f'Digest realm="{REALM}", nonce="').removesuffix('"')
    assert len(nonce) == 44
    assert nonce.isalnum()
    assert md5 == f'Digest realm="{REALM}", nonce="{nonce}"'
    assert sha == f'Digest realm="{REALM}", nonce="{nonce}", algorithm=SHA-256'
    stale_sha, stale_md5 = verifier.challenges(NOW_S, stale=True)
    assert stale_md5 == f'Digest realm="{REALM}", nonce="{nonce}", stale=true'
    assert stale_sha == f'Digest realm="{REALM}", nonce="{nonce}", algorithm=SHA-256, stale=true'


@pytest.mark.parametrize("which", [0, 1])
def test_a_right_answer_is_ok_until_its_nonce_is_stale(verifier: DigestVerifier, which: int) -> None:
    value = answer(verifier.challenges(NOW_S)[which])
    verdict = verifier.verify(value, "SETUP", NOW_S + LIFE_S - 0.1, SECRETS.get)
    assert (verdict.outcome, verdict.username, verdict.uri) == (Outcome.OK, "ticket-1", URI)
    for when in (NOW_S + LIFE_S + 0.1, NOW_S - NONCE_MAX_AHEAD_S - 0.1):
        assert verifier.verify(value, "SETUP", when, SECRETS.get).outcome is Outcome.STALE
    another_node = DigestVerifier(REALM, KEY, LIFE_S)
    assert another_node.verify(value, "SETUP", NOW_S, SECRETS.get).outcome is Outcome.OK
    after_a_restart = DigestVerifier(REALM, KEY[::-1], LIFE_S)
    assert after_a_restart.verify(value, "SETUP", NOW_S, SECRETS.get).outcome is Outcome.STALE


def test_what_is_wrong_is_wrong_however_it_is_wrong(verifier: DigestVerifier) -> None:
    sha, md5 = verifier.challenges(NOW_S)
    right = answer(md5)
    wrong = {
        "method": (right, "PLAY"),
        "password": (answer(md5, password="x"), "SETUP"),
        "user": (answer(md5, username="ticket-2"), "SETUP"),
        "url": (right.replace("cam-7", "cam-8"), "SETUP"),
        "algorithm": (right + ", algorithm=SHA-256", "SETUP"),
        "downgrade": (answer(sha).replace("SHA-256", "MD5"), "SETUP"),
        "quality we never offered": (right + ", qop=auth", "SETUP"),
        "session": (right + ", algorithm=MD5-sess", "SETUP"),
        "no response": (right.partition(", response")[0], "SETUP"),
        "not hexadecimal": (right.replace('response="', 'response="zz'), "SETUP"),
        "not ascii": (right.replace('response="', 'response="é'), "SETUP"),
        "two schemes": (right + ', Basic realm="x"', "SETUP"),
        "basic": ("Basic dGlja2V0LTE6cGFzc193b3JkLTE=", "SETUP"),
        "bearer": ("Bearer x", "SETUP"),
        "empty": ("", "SETUP"),
    }
    for name, (value, method) in wrong.items():
        assert verifier.verify(value, method, NOW_S, SECRETS.get).outcome is Outcome.WRONG, name


def test_a_nonce_of_our_own_making_cannot_be_altered(verifier: DigestVerifier) -> None:
    sha, _ = verifier.challenges(NOW_S)
    nonce = sha.partition('nonce="')[2][:44]
    for place in range(44):
        digit = "0" if nonce[place] != "0" else "1"
        altered = nonce[:place] + digit + nonce[place + 1 :]
        verdict = verifier.verify(answer(sha.replace(nonce, altered)), "SETUP", NOW_S, SECRETS.get)
        assert verdict.outcome is Outcome.STALE


def test_an_unknown_user_costs_the_same_hashes(verifier: DigestVerifier, monkeypatch: pytest.MonkeyPatch) -> None:
    # row 49
    hashed: list[int] = []
    real_hex, real_hmac = Algorithm.hex, hmac.new

    def counting_hex(algorithm: Algorithm, text: str) -> str:
        hashed.append(len(text))
        return real_hex(algorithm, text)

    def counting_hmac(key: bytes, message: bytes, digest: Any) -> hmac.HMAC:
        hashed.append(len(message))
        return real_hmac(key, message, digest)

    monkeypatch.setattr(Algorithm, "hex", counting_hex)
    monkeypatch.setattr(hmac, "new", counting_hmac)
    work = {}
    for name in ("ticket-1", "ticket-x"):
        value = answer(verifier.challenges(NOW_S)[0], username=name, password="wrong")
        hashed.clear()
        assert verifier.verify(value, "SETUP", NOW_S, SECRETS.get).outcome is Outcome.WRONG
        work[name] = list(hashed)
    assert work["ticket-1"] == work["ticket-x"]


def test_the_secret_of_an_unknown_user_opens_nothing(verifier: DigestVerifier) -> None:
    value = answer(verifier.challenges(NOW_S)[0], username="nobody")
    verdict = verifier.verify(value, "SETUP", NOW_S, lambda _: None)
    assert (verdict.outcome, verdict.username) == (Outcome.WRONG, "nobody")


def test_secrets_are_not_shown() -> None:
    assert repr(SECRETS["ticket-1"]) == "Secrets()"


@pytest.mark.parametrize(
    ("realm", "key", "life_s"),
    [("", KEY, 1.0), ('a"b', KEY, 1.0), ("a\\b", KEY, 1.0), ("é", KEY, 1.0), (REALM, b"short", 1.0), (REALM, KEY, 0.0)],
)
def test_a_verifier_that_could_not_work_is_not_made(realm: str, key: bytes, life_s: float) -> None:
    with pytest.raises(LocalProtocolError):
        DigestVerifier(realm, key, life_s)


def test_the_realm_is_told(verifier: DigestVerifier) -> None:
    assert verifier.realm == REALM


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20),
    st.text(max_size=20).filter(lambda text: text.isprintable()),
    st.sampled_from([0, 1]),
)
def test_any_name_and_password_that_agree_are_ok(username: str, password: str, which: int) -> None:
    verifier = DigestVerifier(REALM, KEY, LIFE_S)
    secrets = Secrets(*(ha1(username, REALM, password, algorithm) for algorithm in Algorithm))
    value = answer(verifier.challenges(NOW_S)[which], username=username, password=password)
    verdict = verifier.verify(value, "SETUP", NOW_S, {username: secrets}.get)
    assert (verdict.outcome, verdict.username) == (Outcome.OK, username)


@given(st.text(max_size=300))
def test_any_authorization_has_a_verdict(text: str) -> None:
    verifier = DigestVerifier(REALM, KEY, LIFE_S)
    for value in (text, f"Digest {text}", f'Digest username="ticket-1", response="0123456789", uri={text}'):
        assert verifier.verify(value, "SETUP", NOW_S, SECRETS.get).outcome is Outcome.WRONG


@pytest.mark.parametrize(
    ("covered", "asked"),
    [
        ("/live/cam-7", f"{URI}"),  # Bosch: relative
        (f"{URI}/", f"{URI}/trackID=0"),  # VLC: the base at SETUP
        (URI, f"{URI}/trackID=0"),  # HappyTime: without the slash
    ],
)
def test_lenient_urls_are_verified_as_the_client_wrote_them(
    verifier: DigestVerifier, covered: str, asked: str
) -> None:  # row 46
    value = answer(verifier.challenges(NOW_S)[1], uri=covered)
    verdict = verifier.verify(value, "SETUP", NOW_S, SECRETS.get)
    assert verdict.outcome is Outcome.OK
    assert same_resource(verdict.uri, asked)
