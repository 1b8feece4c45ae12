"""Every condition of an access, in the order in which they are asked, with the reason that each gives.

The table is data: :func:`auth.policy.decide` reads it, ``docs/policy.md`` is written from it, and a test breaks each of
its lines. Who asks comes before what is asked for, so that a stranger learns nothing of cameras and orders.
"""

from __future__ import annotations

from collections.abc import Callable

from auth.policy import french
from auth.policy.case import About, Case, Condition
from auth.principals import Attribution, Role
from auth.rights import Action, BlockKind
from camera_registry.french import day, moment
from camera_registry.orders import Order

WATCHING_ROLES = frozenset({Role.OPERATOR, Role.MACHINE})
"""Who may ask for a stream."""

CERTIFICATE_FALLEN = "certificate-fallen"
"""The reason of whoever came by a certificate that was revoked, has expired or is trusted no longer."""


def _text(text: str) -> Callable[[Case], str]:
    return lambda _: text


def _not_exposed(because: Callable[[Order], str]) -> Callable[[Case], str]:
    def say(case: Case) -> str:
        camera = case.camera.name if case.camera is not None else ""
        because_of = because(case.order) if case.order is not None else _NO_ORDER
        return french.not_exposed(camera, case.order, because_of, case.number)

    return say


_NO_ORDER = "n'est couverte par aucun arrêté préfectoral d'autorisation en vigueur"
_NOT_DESIGNATED = _text("Vous ne faites pas l'objet d'une désignation en vigueur (article 6).")
_NOT_HABILITATED = _text("Votre habilitation ne permet pas cet accès (article 6).")


def _is_in_force(case: Case) -> bool:
    ended_at = case.rights.on_record.ended_at
    return case.convention.in_force(case.now) and (ended_at is None or case.now < ended_at)


def _is_pvpp_authorised(case: Case) -> bool:
    until = case.rights.on_record.pvpp_until
    return until is None or case.now < until


def _has_read_the_charter(case: Case) -> bool:
    """Who comes by our own door answers here; for an agent whom PP asserts, and for a machine, PP does (L25)."""
    on_record, requester = case.rights.on_record, case.requester
    at_our_door = requester.attribution is Attribution.AGENT_AUTHENTICATED
    return not at_our_door or on_record.charter is None or requester.agent in on_record.charter_read_by


def _is_in_annex_8(case: Case) -> bool:
    listed = case.rights.on_record.orders
    return listed is None or (case.order is not None and case.order.reference in listed)


def _is_designated(case: Case) -> bool:
    designation = case.designation
    return designation is not None and designation.start <= case.now


def _has_not_ended(case: Case) -> bool:
    designation = case.designation
    return designation is not None and designation.holds(case.now)


def _is_of_its_service(case: Case) -> bool:
    designation = case.designation
    return designation is not None and case.requester.service in {None, designation.service}


def _has_agreement(case: Case) -> bool:
    by_itself = case.requester.attribution is Attribution.MACHINE_ONLY
    return not by_itself or case.convention.machine_only_agreement is not None


def _is_at_a_declared_site(case: Case) -> bool:
    """A machine by itself is no viewing site, and may name none."""
    site = case.requester.site
    if site is None:
        return case.requester.attribution is Attribution.MACHINE_ONLY
    return site in case.rights.sites


def _is_in_territory(case: Case) -> bool:
    return case.camera is not None and any(each.covers(case.camera) for each in case.usable)


def _mode_keeps_action(case: Case) -> bool:
    return case.mode is None or not case.mode.live_only or case.action in {None, Action.LIVE}


def _mode_keeps_camera(case: Case) -> bool:
    if case.mode is None or case.mode.perimeter is None:
        return True
    return case.camera is not None and case.mode.perimeter.names(case.camera)


def _is_recipient(case: Case) -> bool:
    return case.order is not None and case.service in case.order.recipients


def _mode_is_allowed(case: Case) -> bool:
    order = case.order
    if order is None or case.action is None:
        return order is not None and (order.live or order.recorded)
    return order.live if case.action is Action.LIVE else order.recorded


def _is_past(case: Case) -> bool:
    return case.start is None or case.start <= case.now


def _is_within_retention(case: Case) -> bool:
    return case.start is None or case.start >= case.convention.accessible_from(case.now, case.order)


def _is_recorded(case: Case) -> bool:
    return case.action in {None, Action.LIVE} or (case.camera is not None and case.camera.recorded)


CONDITIONS: tuple[Condition, ...] = (
    Condition(
        About.REQUESTER,
        "the convention has begun, and no end of it is recorded",
        "convention-not-in-force",
        "convention-not-in-force",
        "C18, article 11",
        _is_in_force,
        _text("La convention n'est pas en vigueur (article 11)."),
    ),
    Condition(
        About.REQUESTER,
        "both parties have signed an acceptance record",
        "not-accepted",
        "convention-not-in-force",
        "C23, article 4",
        lambda case: case.rights.on_record.accepted,
        _text(
            "L'accès aux Flux s'ouvre après installation (article 4) : aucun procès-verbal de recette n'est enregistré."
        ),
        listing=False,
    ),
    Condition(
        About.REQUESTER,
        "the PVPP's own order, if one is on record, is not over",
        "pvpp-order-over",
        "convention-not-in-force",
        "C22, article 1",
        _is_pvpp_authorised,
        _text("L'arrêté qui autorise le PVPP a expiré (article 1 de la convention)."),
    ),
    Condition(
        About.REQUESTER,
        "the role is one that watches: operator, or machine",
        "role-does-not-watch",
        "not-habilitated",
        "C09, S05",
        lambda case: case.requester.role in WATCHING_ROLES,
        _text("Ce rôle ne permet pas de visualiser un Flux (article 6)."),
        listing=False,
    ),
    Condition(
        About.REQUESTER,
        "the account has not ended",
        "account-ended",
        "not-habilitated",
        "C09",
        lambda case: case.requester.account not in case.rights.ended_accounts,
        _NOT_HABILITATED,
        standing=True,
    ),
    Condition(
        About.REQUESTER,
        "the certificate by which they came, if any, is good still",
        CERTIFICATE_FALLEN,
        "not-habilitated",
        "S02, S12",
        lambda case: case.requester.certificate not in case.rights.fallen_certificates,
        _NOT_HABILITATED,
    ),
    Condition(
        About.REQUESTER,
        "the key that signed the agent's assertion, if any, is not revoked",
        "assertion-key-revoked",
        "assertion-invalid",
        "C08",
        lambda case: case.requester.assertion_key not in case.rights.revoked_assertion_keys,
        _text("L'attestation de l'agent n'est pas recevable (article 6)."),
    ),
    Condition(
        About.REQUESTER,
        "a machine that names no agent has both parties' agreement",
        "machine-without-agreement",
        "not-habilitated",
        "C08",
        _has_agreement,
        _text("L'accès d'un compte de service sans agent désigné n'a pas fait l'objet d'un accord (article 6)."),
        listing=False,
    ),
    Condition(
        About.REQUESTER,
        "the agent has been designated, and the designation has begun",
        "agent-not-designated",
        "not-habilitated",
        "C09, L01, CSI R253-3",
        _is_designated,
        _NOT_DESIGNATED,
        standing=True,
        personal=True,
    ),
    Condition(
        About.REQUESTER,
        "the designation has not ended",
        "designation-ended",
        "not-habilitated",
        "C09, S12",
        _has_not_ended,
        _NOT_DESIGNATED,
        standing=True,
        personal=True,
    ),
    Condition(
        About.REQUESTER,
        "the agent is not blocked",
        "agent-blocked",
        "not-habilitated",
        "S12",
        lambda case: not case.blocked(BlockKind.AGENT, case.requester.agent),
        _NOT_HABILITATED,
        standing=True,
        personal=True,
    ),
    Condition(
        About.REQUESTER,
        "the service named is that of the designation",
        "another-service",
        "not-habilitated",
        "C09, C17",
        _is_of_its_service,
        _NOT_HABILITATED,
        personal=True,
    ),
    Condition(
        About.REQUESTER,
        "the service is not blocked",
        "service-blocked",
        "not-habilitated",
        "S12",
        lambda case: not case.blocked(BlockKind.SERVICE, case.service),
        _NOT_HABILITATED,
    ),
    Condition(
        About.REQUESTER,
        "the viewing site is one that PP has declared",
        "site-not-declared",
        "site-not-declared",
        "C20, annex 6",
        _is_at_a_declared_site,
        _text("Votre site de visualisation ne figure pas à l'annexe 6 de la convention."),
    ),
    Condition(
        About.REQUESTER,
        "the viewing site is not blocked",
        "site-blocked",
        "not-habilitated",
        "S12",
        lambda case: not case.blocked(BlockKind.SITE, case.requester.site),
        _NOT_HABILITATED,
    ),
    Condition(
        About.REQUESTER,
        "a habilitation of the agent for this role is in force",
        "not-habilitated",
        "not-habilitated",
        "C09, L01",
        lambda case: bool(case.held),
        _NOT_HABILITATED,
        standing=True,
        personal=True,
    ),
    Condition(
        About.REQUESTER,
        "such a habilitation allows this action",
        "action-not-granted",
        "not-habilitated",
        "S14",
        lambda case: bool(case.granted),
        _NOT_HABILITATED,
        personal=True,
    ),
    Condition(
        About.REQUESTER,
        "such a habilitation may be used from this address",
        "source-not-allowed",
        "not-habilitated",
        "C09, S01",
        lambda case: bool(case.usable),
        _NOT_HABILITATED,
        standing=True,
        personal=True,
    ),
    Condition(
        About.REQUESTER,
        "an agent at our own door has acknowledged the charter in force",
        "charter-not-acknowledged",
        "charter-not-acknowledged",
        "L25, annex 7",
        _has_read_the_charter,
        _text(
            "La Charte éthique de la vidéoprotection (annexe 7) doit être lue, et sa version en vigueur acceptée, "
            "avant un premier Flux."
        ),
        listing=False,
        personal=True,
        entering=True,
    ),
    Condition(
        About.CAMERA,
        "the camera exists",
        "unknown-camera",
        "unknown-camera",
        "C06",
        lambda case: case.camera is not None,
        _text("Caméra inconnue."),
    ),
    Condition(
        About.CAMERA,
        "such a habilitation's territory holds the camera",
        "outside-territory",
        "not-habilitated",
        "P10",
        _is_in_territory,
        _text("Votre habilitation ne s'étend pas à cette caméra (article 6)."),
        personal=True,
    ),
    Condition(
        About.CAMERA,
        "the camera is not blocked",
        "camera-blocked",
        "camera-not-authorised",
        "S12",
        lambda case: not case.blocked(BlockKind.CAMERA, case.camera.id if case.camera is not None else None),
        _text("Caméra non mise à disposition. Sa diffusion est momentanément suspendue."),
    ),
    Condition(
        About.CAMERA,
        "the degraded mode in force, if any, keeps this camera",
        "mode-without-camera",
        "degraded-mode",
        "P01",
        _mode_keeps_camera,
        _text("L'Interconnexion est en mode dégradé : cette caméra n'est momentanément pas mise à disposition."),
        listing=False,
    ),
    Condition(
        About.CAMERA,
        "the degraded mode in force, if any, keeps this action",
        "mode-live-only",
        "degraded-mode",
        "P01",
        _mode_keeps_action,
        _text("L'Interconnexion est en mode dégradé : seuls les Flux en Temps réel sont momentanément accessibles."),
        listing=False,
    ),
    Condition(
        About.ORDER,
        "an order names the camera",
        "no-order",
        "camera-not-authorised",
        "L06, CSI L252-1",
        lambda case: case.order is not None,
        _not_exposed(lambda _: _NO_ORDER),
    ),
    Condition(
        About.ORDER,
        "annex 8, if one is on record, lists the order",
        "order-not-in-annex",
        "camera-not-authorised",
        "C07, annex 8",
        _is_in_annex_8,
        _not_exposed(lambda _: "ne figure pas à l'annexe 8 de la convention"),
    ),
    Condition(
        About.ORDER,
        "the order makes the agent's service a recipient",
        "recipient-not-authorised",
        "recipient-not-authorised",
        "L01, CSI L252-3",
        _is_recipient,
        _not_exposed(
            lambda order: (
                "ne prévoit pas la transmission de ses images à votre service "
                "(article L. 252-3 du code de la sécurité intérieure)"
            )
        ),
    ),
    Condition(
        About.ORDER,
        "it was not withdrawn",
        "order-withdrawn",
        "camera-not-authorised",
        "L06, CSI L252-4",
        lambda case: case.order is not None and (case.order.withdrawn_at is None or case.now < case.order.withdrawn_at),
        _not_exposed(lambda order: f"a été abrogé le {moment(order.withdrawn_at or order.expires_at)}"),
    ),
    Condition(
        About.ORDER,
        "it is signed",
        "order-not-begun",
        "camera-not-authorised",
        "L06",
        lambda case: case.order is not None and case.order.begins_at <= case.now,
        _not_exposed(lambda order: f"ne prend effet que le {day(order.signed_on)}"),
    ),
    Condition(
        About.ORDER,
        "its last day is not over in Paris",
        "order-expired",
        "camera-not-authorised",
        "L06, CSI L252-4",
        lambda case: case.order is not None and case.now < case.order.expires_at,
        _not_exposed(lambda order: f"a expiré le {day(order.last_day)}"),
    ),
    Condition(
        About.ORDER,
        "it is not suspended",
        "order-suspended",
        "order-suspended",
        "L06",
        lambda case: case.order is not None and case.order.suspended_since is None,
        _not_exposed(lambda order: f"est suspendu depuis le {moment(order.suspended_since or order.begins_at)}"),
    ),
    Condition(
        About.ORDER,
        "it allows live, or recorded, images as is asked",
        "mode-not-authorised",
        "camera-not-authorised",
        "L06",
        _mode_is_allowed,
        _not_exposed(lambda order: "n'autorise pas ce mode de visualisation"),
    ),
    Condition(
        About.ORDER,
        "the period is not to come",
        "period-to-come",
        "outside-retention",
        "C03",
        _is_past,
        lambda case: f"La période demandée est postérieure à l'heure actuelle. {french.recorded(case.number)}".strip(),
    ),
    Condition(
        About.ORDER,
        "it begins within ten days, or within the order's maximum if that is less",
        "outside-retention",
        "outside-retention",
        "C03, L02, article 6",
        _is_within_retention,
        lambda case: french.too_old(
            case.start or case.now, case.convention.accessible_from(case.now, case.order), case.number
        ),
    ),
    Condition(
        About.ORDER,
        "the camera is recorded, where footage is asked for",
        "no-recording",
        "no-recording",
        "C05, article 6",
        _is_recorded,
        _text("Aucun enregistrement n'est disponible pour cette caméra sur la période demandée."),
    ),
)
