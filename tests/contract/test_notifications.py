"""What every way of notifying must do: the shipped fake, the log, and SMTP against a real server."""

import logging
from collections.abc import Callable, Iterator
from email.message import Message
from uuid import UUID

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as MessageHandler

from allocation.adapters.notifications import (
    AbstractNotifications,
    LoggedNotifications,
    Notification,
    SmtpNotifications,
)
from allocation.testing import FakeNotifications

NOTIFICATION = Notification(
    UUID("00000000-0000-4000-8000-000000000001"),
    subject="Rupture de stock : LAMPE\r\nBcc: intrus@exemple.fr",
    body="La commande c-1 demande 3 unités.",
)


class Mailbox(MessageHandler):
    """Keeps the mails that a real SMTP server receives."""

    def __init__(self) -> None:
        super().__init__()
        self.mails: list[Message] = []

    def handle_message(self, message: Message) -> None:
        self.mails.append(message)


@pytest.fixture
def mailbox(free_port: int) -> Iterator[tuple[Mailbox, str]]:
    """A mailbox and the URL of its server."""
    mailbox = Mailbox()
    controller = Controller(mailbox, hostname="127.0.0.1", port=free_port)
    controller.start()
    yield mailbox, f"smtp://127.0.0.1:{free_port}"
    controller.stop()


@pytest.fixture(params=["fake", "log", "smtp"])
def notifications_and_sent(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> tuple[AbstractNotifications, Callable[[], list[str]]]:
    """A way of notifying, and what has arrived through it, as text."""
    if request.param == "fake":
        fake = FakeNotifications()
        return fake, lambda: [f"{sent.subject} {sent.body}" for sent in fake.sent]
    if request.param == "log":
        caplog.set_level(logging.WARNING)
        return LoggedNotifications(), lambda: [record.getMessage() for record in caplog.records]
    mailbox, url = request.getfixturevalue("mailbox")
    smtp = SmtpNotifications(url, sender="boutique@exemple.fr", recipient="achats@exemple.fr")
    return smtp, lambda: [
        f"{mail['Subject']} {mail.get_payload(decode=True).decode()}" for mail in mailbox.mails
    ]


def test_ce_qui_est_envoyé_arrive_une_fois(
    notifications_and_sent: tuple[AbstractNotifications, Callable[[], list[str]]],
) -> None:
    notifications, sent = notifications_and_sent

    notifications.send(NOTIFICATION)

    [text] = sent()
    assert "Rupture de stock : LAMPE" in text
    assert "La commande c-1 demande 3 unités." in text


def test_un_courriel_porte_l_identité_de_l_événement_et_rien_de_ce_qu_un_sku_y_glisserait(
    mailbox: tuple[Mailbox, str],
) -> None:
    box, url = mailbox

    SmtpNotifications(url, sender="boutique@exemple.fr", recipient="achats@exemple.fr").send(NOTIFICATION)

    [mail] = box.mails
    assert mail["Message-ID"] == "<00000000-0000-4000-8000-000000000001@allocation>"
    assert (mail["From"], mail["To"], mail["Bcc"]) == ("boutique@exemple.fr", "achats@exemple.fr", None)


def test_sans_serveur_de_courriel_l_envoi_échoue_et_le_dit() -> None:
    nowhere = SmtpNotifications("smtp://127.0.0.1:1", sender="a@exemple.fr", recipient="b@exemple.fr")

    with pytest.raises(OSError, match="refused"):
        nowhere.send(NOTIFICATION)
