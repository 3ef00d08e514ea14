"""Notifying people: by e-mail over SMTP or, without a mail server, in the log."""

import logging
import smtplib
import ssl
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from email.message import EmailMessage
from urllib.parse import SplitResult, unquote, urlsplit
from uuid import UUID

from sqlalchemy import ARRAY, Column, DateTime, Table, Text, any_, func, literal, select
from sqlalchemy.dialects.postgresql import insert

from allocation.adapters.postgresql.database import Database
from allocation.adapters.postgresql.metadata import metadata
from allocation.domain.errors import AllocationError

logger = logging.getLogger(__name__)

SMTP_TIMEOUT_S = 10
# Reply codes from here on are permanent failures.
FOR_GOOD = 500

notifications = Table(
    "notifications",
    metadata,
    Column("clé", Text, primary_key=True),
    Column("envoyée_le", DateTime(timezone=True), nullable=False),
)


@dataclass(frozen=True)
class Notification:
    """A message to the people who look after the stock; its `id` stays the same when it is sent again."""

    id: UUID
    subject: str
    body: str


class NotificationRefused(AllocationError):
    """The mail server has refused the message or its recipients for good: trying again is of no use."""


class AbstractNotifications(ABC):
    """Port: a way to notify people."""

    @abstractmethod
    def send(self, notification: Notification) -> None:
        """Hand the message over.

        Raises OSError if that is impossible at the moment, NotificationRefused if it always will be.
        """


class LoggedNotifications(AbstractNotifications):
    """Writes messages to the program's log."""

    def send(self, notification: Notification) -> None:
        for line in notification.body.splitlines():
            logger.warning("%s: %s", notification.subject, line)


class SmtpNotifications(AbstractNotifications):
    """Sends each message as an e-mail, over TLS where the URL is `smtps:` or the server offers STARTTLS."""

    def __init__(self, url: str, *, sender: str, recipient: str) -> None:
        self._url = urlsplit(url)
        self._sender = sender
        self._recipient = recipient

    def send(self, notification: Notification) -> None:
        message = EmailMessage()
        message["From"] = self._sender
        message["To"] = self._recipient
        message["Subject"] = _harmless(notification.subject)
        message["Message-ID"] = f"<{notification.id}@allocation>"
        message.set_content(notification.body)
        with _connect(self._url) as server:
            if self._url.username:
                server.login(unquote(self._url.username), unquote(self._url.password or ""))
            _hand_over(server, message)


def _harmless(subject: str) -> str:
    """The subject on one line, without what looks like an encoded word, which may contain line breaks."""
    return " ".join(subject.split()).replace("=?", "= ?")


def _hand_over(server: smtplib.SMTP, message: EmailMessage) -> None:
    """Send the message. Raises OSError or, if the server refuses it for good, NotificationRefused."""
    try:
        refused = server.send_message(message)
    except smtplib.SMTPRecipientsRefused as error:
        raise _meaning(error, [code for code, _ in error.recipients.values()]) from error
    except smtplib.SMTPResponseException as error:
        raise _meaning(error, [error.smtp_code]) from error
    if refused:
        logger.error("the mail server does not take mails for %s", refused)


def _meaning(error: smtplib.SMTPException, codes: Sequence[int]) -> Exception:
    return NotificationRefused(str(error)) if all(code >= FOR_GOOD for code in codes) else error


def _connect(url: SplitResult) -> smtplib.SMTP:
    context = ssl.create_default_context()
    host = url.hostname or "localhost"
    if url.scheme == "smtps":
        return smtplib.SMTP_SSL(host, url.port or 465, timeout=SMTP_TIMEOUT_S, context=context)
    server = smtplib.SMTP(host, url.port or 25, timeout=SMTP_TIMEOUT_S)
    server.ehlo()
    if server.has_extn("starttls"):
        server.starttls(context=context)
        server.ehlo()
    return server


def due(database: Database, clés: Iterable[str], *, every: timedelta) -> frozenset[str]:
    """The keys for which no message has gone out within the period `every`."""
    c = notifications.c
    clés = list(clés)
    recent = select(c.clé).where(c.clé == any_(literal(clés, ARRAY(Text))), c.envoyée_le > func.now() - every)
    with database.following() as connection:
        return frozenset(clés) - frozenset(connection.scalars(recent))


def note_sent(database: Database, clés: Iterable[str]) -> None:
    """Note that a message has gone out for each of these keys."""
    sent = insert(notifications).values(envoyée_le=func.now())
    again = sent.on_conflict_do_update(index_elements=[notifications.c.clé], set_={"envoyée_le": func.now()})
    with database.following() as connection, connection.begin():
        connection.execute(again, [{"clé": clé} for clé in sorted(clés)])
