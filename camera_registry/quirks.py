"""What cameras are known to do otherwise than the standards say, and what this gateway does about each.

Every row was seen by somebody: ``sources`` are public threads, and a maker is named only where they name it. Every
row is shown: ``corpus`` holds what such a camera says (files below ``tests/corpus``), ``tests`` replay it. A test holds
the table to its word; ``docs/quirks.md`` is written from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_REPLAY: Final = "tests/upstream/test_quirks.py::test_"
_DIALECT: Final = "tests/upstream/test_dialects.py::test_a_camera_is_asked_where_it_said_at_the_address_we_were_given"
_DEVICE: Final = "tests/registry/test_device_quirks.py::test_"
_ONVIF: Final = "tests/registry/test_onvif_client.py::test_"
_PULL: Final = "tests/upstream/test_pull.py::test_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirk:
    """One way in which cameras err.

    ``devices`` is who was seen to, as the ``sources`` have it; ``symptom`` what is seen, ``answer`` what we do.
    ``sources`` are threads of GitHub (``owner/name#number``) or URLs, ``corpus`` file names below ``tests/corpus``,
    ``tests`` pytest node ids.
    """

    id: str
    devices: str
    symptom: str
    answer: str
    sources: tuple[str, ...]
    corpus: tuple[str, ...]
    tests: tuple[str, ...]


QUIRKS: Final = (
    Quirk(
        id="rubbish-between-frames",
        devices="Canon VB-H47; cameras that write half a frame when their network is slow",
        symptom="bytes between two interleaved frames that belong to neither",
        answer="the next believable frame or answer is looked for; after ten tries in a row it is dialled again",
        sources=("bluenviron/gortsplib#653", "scottlamb/moonfire-nvr#302"),
        corpus=("rubbish-between-frames.rtsp",),
        tests=(_REPLAY + "rubbish_between_frames_is_passed_over", _PULL + "rubbish_between_frames_costs_nothing"),
    ),
    Quirk(
        id="folded-answer",
        devices="Luma x20 (LUM-820, LUM-220)",
        symptom="a line of one blank amid the header of PLAY's answer",
        answer="it is what RFC 822 calls a folded line: the header goes on",
        sources=("koush/scrypted#2137",),
        corpus=("folded-answer.rtsp",),
        tests=(_REPLAY + "a_folded_answer_is_read_to_its_end",),
    ),
    Quirk(
        id="cseq-spelled-otherwise",
        devices="Foscam FI8620, icamra; unnamed",
        symptom="`Cseq`, or a blank after its number",
        answer="header names are compared without regard to case, values without their blanks",
        sources=("ZoneMinder/zoneminder#841", "AlexxIT/go2rtc#208", "bluenviron/gortsplib#437"),
        corpus=("cseq-spelled-otherwise.rtsp",),
        tests=(_REPLAY + "answers_are_matched_whatever_becomes_of_their_number",),
    ),
    Quirk(
        id="cseq-wrong",
        devices="Foscam C1; C520WS",
        symptom="an answer that is numbered 0, or as the request before, or not at all",
        answer="it is taken by whatever has waited longest; a late answer is known by its number and dropped",
        sources=("luisiam/homebridge-foscamcamera#6", "scottlamb/retina#133"),
        corpus=("cseq-zero.rtsp", "keep-alive-refused-with-wrong-number.rtsp"),
        tests=(
            _REPLAY + "answers_are_matched_whatever_becomes_of_their_number",
            _REPLAY + "a_refused_sign_of_life_with_a_wrong_number_gives_way_to_options",
        ),
    ),
    Quirk(
        id="base-elsewhere",
        devices="Axis 241Q and Companion, Hikvision, cameras with the H264DVR server",
        symptom="Content-Base or controls with an address that only the camera knows, or with a query of their own",
        answer="path and query are used, at the address that we were given; nothing else is ever dialled",
        sources=(
            "mpromonet/webrtc-streamer#215",
            "bluenviron/mediamtx#683",
            "https://github.com/scottlamb/retina/tree/main/src/client/testdata",
        ),
        corpus=("dialect-axis.rtsp", "dialect-hikvision.rtsp", "dialect-h264dvr.rtsp"),
        tests=(_DIALECT, "tests/upstream/test_dialects.py::test_what_a_camera_calls_itself_is_never_dialled"),
    ),
    Quirk(
        id="base-malformed",
        devices="SV3C SV-B01POE, icamra, D-Link DCS-8302LH",
        symptom="Content-Base without a scheme, with two, or with an IPv6 address without brackets",
        answer="only its path counts; where even that is not to be had, the URL that was asked for stands",
        sources=("scottlamb/moonfire-nvr#356", "AlexxIT/go2rtc#208", "AlexxIT/WebRTC#395"),
        corpus=("dialect-sv3c.rtsp", "dialect-icamra.rtsp", "dialect-dlink.rtsp"),
        tests=(
            _DIALECT,
            "tests/protocol/test_uri.py::test_what_a_device_announces_is_looked_for_where_the_device_is",
        ),
    ),
    Quirk(
        id="control-and-query",
        devices="Dahua, Bosch FLEXIDOME IP starlight 8000i, Samsung and Hanwha, Verint S1816e, VCP",
        symptom="a track appended to a query, named by the query alone, by a letter, or with one slash too many",
        answer="controls are joined as ffmpeg and live555 join them; name and password in them are dropped",
        sources=(
            "bluenviron/gortsplib#479",
            "bluenviron/gortsplib#632",
            "Ullaakut/cameradar#199",
            "CamioCam/rtsp#196",
            "AlexxIT/go2rtc#1236",
            "AlexxIT/go2rtc#1663",
        ),
        corpus=(
            "dialect-dahua.rtsp",
            "dialect-bosch.rtsp",
            "dialect-hanwha.rtsp",
            "dialect-verint.rtsp",
            "dialect-vcp.rtsp",
        ),
        tests=(_DIALECT,),
    ),
    Quirk(
        id="careless-description",
        devices="TP-Link; go2rtc and MediaMTX as sources",
        symptom="no base, no control of the whole, an origin of six words, media that are none of RTP's",
        answer="what the video needs is read, the rest passed over",
        sources=("pixelbender/go-sdp#5", "AlexxIT/go2rtc#1179", "bluenviron/mediamtx#2908", "scottlamb/retina#9"),
        corpus=("dialect-tplink.rtsp", "dialect-go2rtc.rtsp", "dialect-mediamtx.rtsp"),
        tests=(_DIALECT,),
    ),
    Quirk(
        id="channels-of-its-own",
        devices="unnamed",
        symptom="SETUP gives other channels than were asked for, or names none",
        answer="those it gives are used, else those that were asked for",
        sources=("bluenviron/mediamtx#19", "bluenviron/gortsplib#142"),
        corpus=("channels-of-its-own.rtsp", "dialect-h264dvr.rtsp"),
        tests=(_REPLAY + "channels_that_were_not_asked_for_are_taken", _DIALECT),
    ),
    Quirk(
        id="session-timeout-short",
        devices="C520WS (15 s); unnamed",
        symptom="a session that lives for less than thirty seconds",
        answer="signs of life go out at half of the timeout that the camera names",
        sources=("bluenviron/mediamtx#1066", "scottlamb/retina#133"),
        corpus=("timeout-short.rtsp",),
        tests=(_REPLAY + "a_short_session_is_kept_by_its_own_timeout",),
    ),
    Quirk(
        id="session-timeout-not-named",
        devices="unnamed",
        symptom="no timeout is named, and the connection is closed without signs of life",
        answer="sixty seconds are meant (RFC 2326 section 12.37)",
        sources=("AxisCommunications/media-stream-library-js#235", "AlexxIT/go2rtc#289"),
        corpus=("timeout-not-named.rtsp",),
        tests=(_REPLAY + "a_session_without_a_timeout_lives_sixty_seconds",),
    ),
    Quirk(
        id="get-parameter-unanswered",
        devices="Hipcam; Xiaomi MJSXJ03HL with Thingino; unnamed",
        symptom="GET_PARAMETER is announced, and not answered, refused, or answered by hanging up",
        answer="OPTIONS is asked at once, and the camera remembered for it; a receiver report goes out with either",
        sources=("ZLMediaKit/ZLMediaKit#642", "ngraziano/SharpRTSP#63", "themactep/thingino-firmware#490"),
        corpus=(
            "keep-alive-unanswered.rtsp",
            "keep-alive-unknown-session.rtsp",
            "keep-alive-hangs-up.rtsp",
            "keep-alive-refused-with-wrong-number.rtsp",
        ),
        tests=(
            _REPLAY + "a_sign_of_life_that_is_not_taken_is_given_by_options",
            _REPLAY + "a_camera_that_hangs_up_on_a_sign_of_life_is_asked_otherwise",
            _REPLAY + "a_refused_sign_of_life_with_a_wrong_number_gives_way_to_options",
            _PULL + "a_session_is_kept_alive",
        ),
    ),
    Quirk(
        id="source-changes",
        devices="Uniview",
        symptom="another SSRC with each group of pictures",
        answer="readers see one source, its sequence numbers and its time going on",
        sources=("bluenviron/gortsplib#687",),
        corpus=("source-changes.rtsp",),
        tests=(
            _REPLAY + "readers_see_one_stream_whatever_its_numbers_do",
            "tests/relay/test_continuity.py::test_readers_see_one_source_whose_numbers_never_leap",
        ),
    ),
    Quirk(
        id="numbers-jump",
        devices="Raptor firmware; senders that begin anew with the same source",
        symptom="sequence numbers that begin anew, timestamps that leap forward or back by seconds or hours",
        answer="readers' numbers go on by the time that has passed; what is lost, late or reordered stays as it is",
        sources=("gtxaspec/raptor#43", "scottlamb/retina#64", "livekit/media-sdk#95"),
        corpus=("numbers-begin-anew.rtsp", "timestamps-jump.rtsp"),
        tests=(_REPLAY + "readers_see_one_stream_whatever_its_numbers_do",),
    ),
    Quirk(
        id="two-sessions-on-a-connection",
        devices="Reolink with live555 of 2013",
        symptom="packets of a session whose client is gone, amid ours",
        answer="the source that was there goes on; the other is kept apart until the first was silent for a second",
        sources=("scottlamb/retina#17", "scottlamb/moonfire-nvr#144", "blakeblackshear/frigate#1713"),
        corpus=("two-sessions-on-a-connection.rtsp",),
        tests=(
            _REPLAY + "packets_of_another_session_are_kept_apart",
            "tests/relay/test_continuity.py::test_a_source_that_falls_silent_gives_way_to_the_one_that_was_kept_apart",
        ),
    ),
    Quirk(
        id="other-payload-types",
        devices="Uniview IPC3618SB and XVR302, Uniarch XVR 108G3; unnamed",
        symptom="packets of type 50 on the video's channel while the camera turns, or its sound",
        answer="only the payload types that the description gives to the video pass",
        sources=("bluenviron/mediamtx#4036", "BogdanovKirill/RtspClientSharp#98", "bluenviron/mediamtx#5819"),
        corpus=("other-payload-types.rtsp",),
        tests=(_REPLAY + "packets_of_other_payload_types_do_not_pass",),
    ),
    Quirk(
        id="sets-only-in-sdp",
        devices="Axis",
        symptom="parameter sets in the description, and never in the stream",
        answer="the readers' description carries them; a reader begins at a key picture",
        sources=("meetecho/janus-gateway#849",),
        corpus=("sets-only-in-sdp.rtsp",),
        tests=(
            _REPLAY + "sets_that_are_only_in_the_description_reach_the_reader",
            "tests/e2e/test_gst_cameras.py::test_parameter_sets_stay_where_the_camera_put_them",
        ),
    ),
    Quirk(
        id="sets-only-in-band",
        devices="Hikvision",
        symptom="no parameter sets in the description, or one of two",
        answer="a reader begins at the sets before a key picture; half a pair is not described",
        sources=("bluenviron/gortsplib#88", "AxisCommunications/media-stream-library-js#417", "FFmpeg/FFmpeg#181"),
        corpus=("sets-only-in-band.rtsp", "sets-broken-in-sdp.rtsp"),
        tests=(
            _REPLAY + "sets_that_are_only_in_the_stream_are_where_a_reader_begins",
            _REPLAY + "half_a_pair_of_sets_is_not_described",
        ),
    ),
    Quirk(
        id="no-sender-reports",
        devices="OpenIPC's smolrtsp, go2rtc as a source",
        symptom="no sender report, or one without a time: recorders refuse or misplace the stream",
        answer="we report, by the clock of arrival, within a second and then every five",
        sources=("OpenIPC/smolrtsp#7", "AlexxIT/go2rtc#2326"),
        corpus=("no-sender-reports.rtsp", "reports-without-a-clock.rtsp"),
        tests=(
            _REPLAY + "what_a_camera_does_not_tell_of_time_we_tell",
            "tests/relay/test_reports.py::test_without_the_cameras_we_report_within_a_second_and_then_every_five",
        ),
    ),
    Quirk(
        id="clock-off",
        devices="unnamed",
        symptom="sender reports by a clock that is seconds or hours off",
        answer="nothing is dropped and the camera's time passes; log, metrics and doctor say how far it is off",
        sources=("mpromonet/webrtc-streamer#223", "bluenviron/mediamtx#5355", "evercam/ex_nvr#404"),
        corpus=("clock-five-seconds-off.rtsp", "clock-hours-off.rtsp"),
        tests=(
            _REPLAY + "a_camera_whose_clock_is_off_loses_nothing_and_is_flagged",
            "tests/inspection/test_doctor.py::test_a_wrong_clock_is_a_fault_and_all_else_goes_on",
        ),
    ),
    Quirk(
        id="no-more-pictures",
        devices="Reolink Atlas PT Ultra behind reolinkproxy",
        symptom="connected, every request answered, no picture for hours",
        answer="after ten seconds without one it is dialled again, and its readers are held",
        sources=("Shareed2k/reolinkproxy#24",),
        corpus=("no-more-pictures.rtsp",),
        tests=(
            _REPLAY + "a_camera_that_sends_no_more_pictures_is_dialled_again",
            _PULL + "a_camera_that_stalls_is_dialled_again",
        ),
    ),
    Quirk(
        id="few-sessions",
        devices="Hikvision (playback), WIWACAM 4K",
        symptom="453 to whoever comes second",
        answer="one pull serves all readers, and a refusal is answered by patience",
        sources=("mpromonet/webrtc-streamer#174", "keshavdv/unifi-cam-proxy#340"),
        corpus=("sessions-all-taken.rtsp",),
        tests=(
            _REPLAY + "a_camera_without_a_session_left_is_not_hammered",
            _PULL + "one_pull_serves_all_readers",
        ),
    ),
    Quirk(
        id="odd-h265",
        devices="unnamed",
        symptom="fragments that disagree on the type of their unit, aggregations of one",
        answer="packets are relayed as they are: no unit is put together on the way",
        sources=("scottlamb/moonfire-nvr#344",),
        corpus=("h265-odd-fragments.rtsp",),
        tests=(_REPLAY + "odd_h265_is_relayed_as_it_is",),
    ),
    Quirk(
        id="large-packets",
        devices="unnamed",
        symptom="packets of tens of kilobytes over TCP",
        answer="they are relayed as they are; doctor says that UDP cannot carry them",
        sources=("bluenviron/mediamtx#1103",),
        corpus=("packet-of-65535-bytes.rtsp",),
        tests=(_REPLAY + "the_largest_packet_passes_with_its_extension_and_padding",),
    ),
    Quirk(
        id="several-challenges",
        devices="Hikvision and its OEMs (Prama PT-NC143D3-WNM), Shelly",
        symptom="SHA-256 alone, or Basic, MD5 and SHA-256 at once",
        answer="the strongest is answered",
        sources=("AlexxIT/go2rtc#2344", "AlexxIT/go2rtc#2451"),
        corpus=("several-challenges.rtsp",),
        tests=(
            _REPLAY + "the_best_of_several_challenges_is_answered",
            "tests/upstream/test_odd_cameras.py::test_digest_is_preferred_to_basic_and_sha_256_to_md5",
        ),
    ),
    Quirk(
        id="onvif-digest-only",
        devices="Hikvision (DS-2SE4C425MWG-E), INSTAR IN-9408",
        symptom="UsernameToken is ignored: 401 and a page of HTML",
        answer="HTTP Digest is answered where it is asked for",
        sources=("blakeblackshear/frigate#22622", "home-assistant/core#98538"),
        corpus=("onvif-digest-only.soap",),
        tests=(
            _DEVICE + "a_device_that_knows_only_digest_is_answered_by_it",
            _ONVIF + "no_request_bears_a_password_before_the_device_asks",
        ),
    ),
    Quirk(
        id="onvif-clock",
        devices="OpenIPC's Majestic; unnamed",
        symptom="a clock that is months off after a reboot, local time told as UTC, no UTC time told",
        answer="its offset is measured, by SOAP or by the answer's Date, and used; once refused, once more without it",
        sources=("home-assistant/core#121952", "OpenIPC/majestic-webui#292"),
        corpus=("onvif-clock-untold.soap",),
        tests=(
            _DEVICE + "a_clock_that_is_not_told_is_read_from_the_answer",
            _ONVIF + "a_wrong_clock_does_not_keep_it_out",
            _ONVIF + "a_device_that_calls_local_time_utc_is_asked_once_more",
        ),
    ),
    Quirk(
        id="onvif-address-elsewhere",
        devices="devices behind a NAT; Yi with yi-hack",
        symptom="services and streams announced at 127.0.0.1 or at an address behind a NAT",
        answer="the host under which the device was found replaces every host that is not allowed",
        sources=("agsh/onvif#41", "roleoroleo/yi-hack-MStar#148"),
        corpus=("onvif-address-elsewhere.soap",),
        tests=(
            _DEVICE + "a_device_is_asked_where_it_was_found",
            _ONVIF + "it_never_goes_where_a_device_sends_it",
            "tests/registry/test_hosts.py::test_an_announced_address_is_made_usable",
        ),
    ),
    Quirk(
        id="onvif-odd-soap",
        devices="CamHipro, ESCAM PVR008; unnamed",
        symptom="prefixes that nothing declares, a bare 400 instead of a fault, operations that are not there",
        answer="each call is optional, and one that fails is a field of the inventory",
        sources=("home-assistant/core#92308", "home-assistant/core#47130"),
        corpus=("onvif-odd-soap.soap",),
        tests=(
            _DEVICE + "what_a_device_answers_oddly_is_read_as_far_as_it_goes",
            "tests/registry/test_soap.py::test_a_fault_with_an_undeclared_prefix_is_read",
            "tests/registry/test_inventory.py::test_a_failed_call_is_a_field_and_the_camera_stays_available",
        ),
    ),
    Quirk(
        id="lock-out",
        devices="Hikvision (30 minutes), Foscam C1",
        symptom="a few wrong passwords lock the account",
        answer="a password is tried once, over ONVIF and over RTSP, and not again until it is changed",
        sources=("evercam/evercam-server#91", "CamioCam/rtsp#34", "Skinah/IpCamera#11"),
        corpus=("onvif-lock-out.soap",),
        tests=(
            _DEVICE + "a_password_that_is_refused_is_not_sent_again",
            _PULL + "a_wrong_password_is_tried_once_and_not_again_until_it_is_changed",
            "tests/registry/test_guard.py::test_a_wrong_password_is_tried_once_however_many_ask",
        ),
    ),
)
"""Every quirk that is known here, those of RTSP first."""
