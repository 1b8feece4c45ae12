"""A real Postfix on loopback, from apt: STARTTLS, delivery reports, a maildir for each mailbox. Needs root."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from auth.demo_authority import DemoAuthority, Issued

MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
maillog_file_prefixes = {folder}
maillog_file = {folder}/log
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.test
mydestination =
alias_maps =
alias_database =
local_recipient_maps =
virtual_mailbox_domains = pp.example, syn.example
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = texthash:{folder}/mailboxes
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
relay_domains = beyond.example
relay_recipient_maps =
transport_maps = inline:{{ beyond.example=smtp:[127.0.0.1]:{beyond} }}
smtpd_recipient_restrictions = check_client_access static:{{{access}}}
smtpd_tls_security_level = may
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtp_address_preference = ipv4
smtp_dns_support_level = disabled
minimal_backoff_time = 1s
bounce_notice_recipient = notices@syn.example
"""

MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


def installed() -> bool:
    """Whether it can be run here."""
    return os.geteuid() == 0 and shutil.which("postfix", path="/usr/sbin:/usr/bin") is not None


@dataclass(frozen=True)
class Postfix:
    folder: Path
    port: int
    ca: Path

    def maildir(self, user: str) -> Path:
        return self.folder / "mail" / user

    def mails(self, user: str) -> list[bytes]:
        new = self.maildir(user) / "new"
        return [path.read_bytes() for path in sorted(new.iterdir())] if new.is_dir() else []

    def log(self) -> str:
        return (self.folder / "log").read_text()


@contextmanager
def postfix_folder() -> Iterator[tuple[Path, int, DemoAuthority, Issued]]:
    """A folder that Postfix's users may enter, a free port, and an authority with the server's certificate."""
    folder = Path(tempfile.mkdtemp(prefix="halfgateway-postfix-", dir="/tmp"))  # pytest's own they may not
    try:
        folder.chmod(0o755)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        now = datetime.now(UTC)
        authority = DemoAuthority.open(folder / "ca", now)
        issued = authority.server(now)
        for part, owner in (("queue", "root"), ("data", "postfix"), ("mail", "nobody")):
            (folder / part).mkdir()
            shutil.chown(folder / part, owner)
        yield folder, port, authority, issued
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running_postfix(folder: Path, main: str, master: str) -> Iterator[None]:
    """Run one by these two files."""
    (folder / "main.cf").write_text(main)
    (folder / "master.cf").write_text(master)
    command = ["/usr/sbin/postfix", "-c", str(folder)]
    started = subprocess.run([*command, "start"], capture_output=True, text=True, check=False)
    try:
        assert started.returncode == 0, started.stderr
        yield
    finally:
        subprocess.run([*command, "stop"], capture_output=True, check=False)


@contextmanager
def postfix(mailboxes: dict[str, str], *, beyond: int = 9, access: str = "permit") -> Iterator[Postfix]:
    """Run one whose ``mailboxes`` (user by address) lie here; ``beyond.example`` is relayed to that port."""
    with postfix_folder() as (folder, port, authority, issued):
        (folder / "mailboxes").write_text("".join(f"{address} {user}/\n" for address, user in mailboxes.items()))
        main = MAIN.format(
            folder=folder, certificate=issued.certificate_path, key=issued.key_path, beyond=beyond, access=access
        )
        with running_postfix(folder, main, MASTER.format(port=port)):
            yield Postfix(folder, port, authority.certificate_path)
