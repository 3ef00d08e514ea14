"""Telling people: e-mail over SMTP or, without a mail server, the log."""

import logging
import smtplib
import ssl
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import timedelta
from email.message import EmailMessage
from urllib.parse import SplitResult, unquote, urlsplit
from uuid import UUID

from sqlalchemy import Column, Connection, DateTime, Table, Text, func
from sqlalchemy.dialects.postgresql import insert

from allocation.adapters.metadata import metadata

logger = logging.getLogger(__name__)

SMTP_TIMEOUT_S = 10

notifications = Table(
    "notifications",
    metadata,
    Column("clé", Text, primary_key=True),
    Column("envoyée_le", DateTime(timezone=True), nullable=False),
)


@dataclass(frozen=True)
class Notification:
    """A message to the people who watch the stock; `id` stays the same when it is sent again."""

    id: UUID
    subject: str
    body: str


class AbstractNotifications(ABC):
    """Port: a way to reach people."""

    @abstractmethod
    def send(self, notification: Notification) -> None:
        """Hand the message over. Raises OSError when that is not possible now."""


class LoggedNotifications(AbstractNotifications):
    """Writes messages to the program's log."""

    def send(self, notification: Notification) -> None:
        logger.warning("%s: %s", notification.subject, notification.body)


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
        message["Subject"] = " ".join(notification.subject.split())
        message["Message-ID"] = f"<{notification.id}@allocation>"
        message.set_content(notification.body)
        with _connect(self._url) as server:
            if self._url.username:
                server.login(unquote(self._url.username), unquote(self._url.password or ""))
            server.send_message(message)


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


def claim(connection: Connection, clé: str, *, every: timedelta) -> bool:
    """Whether a message under this key is due: none went out for `every`, or none whose sending was kept.

    A claim lasts if the connection's transaction commits, and is gone if sending fails and it does not.
    """
    claimed = (
        insert(notifications)
        .values({"clé": clé, "envoyée_le": func.now()})
        .on_conflict_do_update(
            index_elements=[notifications.c.clé],
            set_={"envoyée_le": func.now()},
            where=notifications.c.envoyée_le <= func.now() - every,
        )
        .returning(notifications.c.clé)
    )
    return connection.scalar(claimed) is not None
