"""What every way of notifying must do: the shipped fake, the log, and SMTP against a real server."""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.header import decode_header, make_header
from email.message import Message
from uuid import UUID

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as MessageHandler
from aiosmtpd.smtp import SMTP, Envelope, Session

from allocation.adapters.notifications import (
    AbstractNotifications,
    LoggedNotifications,
    Notification,
    NotificationRefused,
    SmtpNotifications,
)
from allocation.testing import FakeNotifications

NOTIFICATION = Notification(
    UUID("00000000-0000-4000-8000-000000000001"),
    subject="Rupture de stock : LAMPE\r\nBcc: intrus@exemple.fr",
    body="La commande c-1 demande 3 unités.",
)


HOSTILE = [
    "=?utf-8?q?x=0d=0aBcc:_evil=40example.org=0d=0a=0d=0aevil?=",
    "=?utf-8?b?DQpCY2M6IGV2aWxAZXhhbXBsZS5vcmcNCg==?=",
    "= ?utf-8?q?=0d=0aBcc:_evil?= =?utf-8?q?=0d=0aBcc:_evil?=",
    "==?utf-8?q?=?utf-8?q?=0d=0aBcc:_evil?=?=",
    "x\u2028Bcc: evil@example.org",
    "\U0001f6cb" * 63,
    "a" * 255,
]


class Refusing:
    """Makes an SMTP server refuse, at one of its steps."""

    def __init__(self, step: str, reply: str, only: str) -> None:
        self._step, self._reply, self._only = step, reply, only

    async def handle_RCPT(  # noqa: N802 - the library calls it so
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if self._step == "RCPT" and self._only in address:
            return self._reply
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, *_: object) -> str:  # noqa: N802 - the library calls it so
        return self._reply if self._step == "DATA" else "250 OK"


@contextmanager
def refusing(port: int, step: str, reply: str, only: str = "") -> Iterator[SmtpNotifications]:
    """A way to notify two people by a server that refuses."""
    controller = Controller(Refusing(step, reply, only), hostname="127.0.0.1", port=port)
    controller.start()
    yield SmtpNotifications(
        f"smtp://127.0.0.1:{port}",
        sender="boutique@exemple.fr",
        recipient="achats@exemple.fr, parti@exemple.fr",
    )
    controller.stop()


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


@pytest.mark.parametrize("sku", HOSTILE)
def test_aucun_sku_ne_devient_un_en_tête(mailbox: tuple[Mailbox, str], sku: str) -> None:
    """An encoded word stands for text that may have line ends: who decodes it would find headers there."""
    box, url = mailbox

    smtp = SmtpNotifications(url, sender="boutique@exemple.fr", recipient="achats@exemple.fr")
    smtp.send(Notification(NOTIFICATION.id, f"Rupture de stock : {sku}", f"Il manque {sku}."))

    [mail] = box.mails
    headers = {name.lower() for name in mail if not name.lower().startswith("x-")}
    assert headers <= {
        "from", "to", "subject", "message-id", "mime-version", "content-type", "content-transfer-encoding"
    }  # fmt: skip
    unfolded = re.sub(r"\r?\n(?=[ \t])", "", mail["Subject"])
    subject = str(make_header(decode_header(unfolded))).strip()
    assert subject.startswith("Rupture de stock : ")
    assert len(subject.splitlines()) == 1
    assert "evil" not in mail.as_string().partition("Subject")[0]
    body = mail.get_payload(decode=True)
    assert isinstance(body, bytes)
    assert body.split() == f"Il manque {sku}.\n".encode().split()


@pytest.mark.parametrize(("step", "reply"), [("RCPT", "550 inconnu"), ("DATA", "554 indésirable")])
def test_ce_que_le_serveur_refuse_pour_de_bon_ne_se_retente_pas(
    free_port: int, step: str, reply: str
) -> None:
    with refusing(free_port, step, reply) as smtp, pytest.raises(NotificationRefused, match=reply[:3]):
        smtp.send(NOTIFICATION)


@pytest.mark.parametrize(("step", "reply"), [("RCPT", "450 occupé"), ("DATA", "451 plus tard")])
def test_ce_que_le_serveur_refuse_pour_l_instant_se_retente(free_port: int, step: str, reply: str) -> None:
    with refusing(free_port, step, reply) as smtp, pytest.raises(OSError, match=reply[:3]):
        smtp.send(NOTIFICATION)


def test_un_destinataire_refusé_ne_prive_pas_les_autres(
    free_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    with refusing(free_port, "RCPT", "550 inconnu", only="parti@exemple.fr") as smtp:
        smtp.send(NOTIFICATION)

    assert "parti@exemple.fr" in caplog.text


def test_sans_serveur_de_courriel_l_envoi_échoue_et_le_dit() -> None:
    nowhere = SmtpNotifications("smtp://127.0.0.1:1", sender="a@exemple.fr", recipient="b@exemple.fr")

    with pytest.raises(OSError, match="refused"):
        nowhere.send(NOTIFICATION)
