"""``halfgateway agent``: accounts and their factors, on a node that does not run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from cryptography import x509

from auth.errors import AuthError
from auth.principals import Role
from camera_registry.errors import RegistryError
from halfgateway.app.enrolling import Designation, EnrolmentDesk, Secrets, enrolment_desk
from halfgateway.cli.common import REFUSED, WRONG_USAGE, JsonOption, account_name, say, stop
from halfgateway.config import Configuration, ConfigurationError, read_configuration
from halfgateway.errors import HalfGatewayError
from ops.errors import OpsError

T = TypeVar("T")

agent = typer.Typer(
    help="Agents habilités: accounts and their factors. The node is stopped meanwhile; each act is in its trace.",
    no_args_is_help=True,
)

AccountArgument = Annotated[str, typer.Argument(metavar="ID", help="The account: an opaque identifier, never a name.")]
ConfigurationOption = Annotated[Path, typer.Option("--config", envvar="HALFGATEWAY_CONFIG", help="gateway.toml.")]
Certificate = typer.Option(help="A certificate (PEM): a person's card, or a machine's own.")


@agent.command("bootstrap")
def bootstrap(account: AccountArgument, config: ConfigurationOption, as_json: JsonOption = False) -> None:
    """Make the first security officer, with a password and a one-time-code secret: shown here, and never again."""
    _say_secrets(_at_desk(config, lambda desk: desk.bootstrap(account)), as_json=as_json)


@agent.command("add")
def add(
    account: AccountArgument,
    role: Annotated[Role, typer.Option(help="What the account is for.")],
    config: ConfigurationOption,
    opaque_id: Annotated[str | None, typer.Option("--agent", help="The agent, as the trace names them.")] = None,
    service: Annotated[str | None, typer.Option(help="The agent's service.")] = None,
    site: Annotated[str | None, typer.Option(help="The viewing site.")] = None,
    scope: Annotated[str | None, typer.Option(help="What an auditor may see.")] = None,
    certificate: Annotated[Path | None, Certificate] = None,
    as_json: JsonOption = False,
) -> None:
    """Make an account; its password or secret is shown here, and never again.

    An operator, a supervisor or a machine needs a certificate; anybody else gets a one-time-code secret without one.
    """
    designated = Designation(
        account=account, role=role, agent=opaque_id or account, service=service, site=site, scope=scope
    )
    card = None if certificate is None else _read_certificate(certificate)
    _say_secrets(_at_desk(config, lambda desk: desk.add(designated, card)), as_json=as_json)


@agent.command("enrol-card")
def enrol_card(
    account: AccountArgument,
    config: ConfigurationOption,
    certificate: Annotated[Path, Certificate],
    as_json: JsonOption = False,
) -> None:
    """Bind another certificate to an account."""
    card = _read_certificate(certificate)
    _at_desk(config, lambda desk: desk.enrol_card(account, card))
    say({"id": account}, f"Certificat rattaché à {account}.", as_json=as_json)


@agent.command("enrol-totp")
def enrol_totp(account: AccountArgument, config: ConfigurationOption, as_json: JsonOption = False) -> None:
    """Give an account a new one-time-code secret; the one before is good no longer."""
    secret = _at_desk(config, lambda desk: desk.enrol_totp(account))
    say({"id": account, "totp_secret": secret}, f"Code à usage unique de {account} : {secret}", as_json=as_json)


@agent.command("end")
def end(account: AccountArgument, config: ConfigurationOption, as_json: JsonOption = False) -> None:
    """End an account, for good."""
    _at_desk(config, lambda desk: desk.end(account))
    say({"id": account}, f"Compte {account} clos.", as_json=as_json)


def _say_secrets(made: Secrets, *, as_json: bool) -> None:
    document = {"id": made.account, "role": made.role.value, "password": made.password, "totp_secret": made.totp_secret}
    lines = [f"Compte      {made.account} ({made.role.value})", f"Secret      {made.password}"]
    lines += [f"Code (TOTP) {made.totp_secret}"] if made.totp_secret is not None else []
    say(document, "\n".join([*lines, "À remettre à son titulaire : ils ne seront plus affichés."]), as_json=as_json)


def _read_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        stop(WRONG_USAGE, f"{path}: {error}")


def _at_desk(config: Path, act: Callable[[EnrolmentDesk], Awaitable[T]]) -> T:
    async def run(configuration: Configuration) -> T:
        async with enrolment_desk(configuration, account_name()) as desk:
            return await act(desk)

    try:
        configuration = read_configuration(config)
    except ConfigurationError as error:
        stop(WRONG_USAGE, *error.faults)
    try:
        return asyncio.run(run(configuration))
    except (HalfGatewayError, AuthError, OpsError, RegistryError, OSError) as error:
        stop(REFUSED, str(error))
