"""Settings come from the environment, and a wrong one is refused by its name."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from allocation.adapters.configuration import Settings


def test_sans_rien_la_base_est_embarquée_et_les_courriels_sont_notés() -> None:
    settings = Settings()

    assert (settings.database_url, settings.smtp_url) == (None, None)
    assert settings.data_dir.is_absolute()


def test_root_garde_ses_données_hors_de_son_dossier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    as_root = Settings().data_dir
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    as_user = Settings().data_dir

    assert as_root == Path("/var/lib/allocation")
    assert as_user.is_relative_to(Path.home())


def test_une_variable_vide_ne_compte_pas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOCATION_DATABASE_URL", "")

    assert Settings().database_url is None


@pytest.mark.parametrize(
    "url", ["postgresql://db/shop", "postgres://db/shop", "postgresql+psycopg://db/shop"]
)
def test_toutes_les_formes_d_une_adresse_postgresql_conviennent(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("ALLOCATION_DATABASE_URL", url)

    assert Settings().database_url == url


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DATABASE_URL", "sqlite:///x.db"),
        ("DATABASE_URL", "n'importe quoi"),
        ("READ_DATABASE_URL", "mysql://db/shop"),
        ("SMTP_URL", "http://mail"),
        ("POOL_SIZE", "0"),
        ("LOG_LEVEL", "BAVARD"),
        ("POLL_INTERVAL", "0"),
        ("READY_MAX_LAG", "jamais"),
    ],
)
def test_une_valeur_absurde_est_refusée_par_son_nom(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(f"ALLOCATION_{variable}", value)

    with pytest.raises(ValidationError) as refusal:
        Settings()

    assert [each["loc"] for each in refusal.value.errors()] == [(variable.lower(),)]


def test_les_mots_de_passe_ne_se_montrent_pas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOCATION_DATABASE_URL", "postgresql://moi:secret@db/shop")
    monkeypatch.setenv("ALLOCATION_READ_DATABASE_URL", "postgresql://moi:secret@standby/shop")
    monkeypatch.setenv("ALLOCATION_SMTP_URL", "smtp://moi:secret@mail")

    shown = Settings().shown()

    assert shown["database_url"] == "postgresql://moi:***@db/shop"
    assert shown["read_database_url"] == "postgresql://moi:***@standby/shop"
    assert shown["smtp_url"] == "smtp://moi:***@mail"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://moi@db/shop?password=s3cret",
        "postgresql://db/shop?user=moi&password=s3cret&sslpassword=s3cret",
        "host=db dbname=shop password=s3cret",
        "postgresql://moi:s3cret@un,deux/shop",
        "postgresql://moi:s3%20cret@db/shop",
    ],
)
def test_aucune_forme_d_adresse_ne_montre_de_secret(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("ALLOCATION_DATABASE_URL", url)
    monkeypatch.setenv("ALLOCATION_READ_DATABASE_URL", url)

    settings = Settings()

    shown = settings.shown()
    assert "***" in (shown["database_url"] or "")
    assert shown["database_url"] == shown["read_database_url"]
    assert "cret" not in f"{shown} {settings!r} {settings}"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://moi:s3cret@mail", "smtp://moi:***@mail"),
        ("smtps://moi:s3%40cret@mail:465/x?password=s3cret#s3cret", "smtps://moi:***@mail:465"),
        ("smtp://:s3cret@[::1]:25", "smtp://:***@[::1]:25"),
        ("smtp://mail", "smtp://mail"),
    ],
)
def test_l_adresse_du_courrier_ne_montre_pas_de_secret(
    monkeypatch: pytest.MonkeyPatch, url: str, expected: str
) -> None:
    monkeypatch.setenv("ALLOCATION_SMTP_URL", url)

    assert Settings().shown()["smtp_url"] == expected


@pytest.mark.parametrize(
    ("variable", "value"),
    [("SMTP_URL", "smtp://moi:s3cret@mail:port"), ("DATABASE_URL", "mysql://moi:s3cret@db/shop")],
)
def test_un_refus_ne_montre_pas_ce_qu_il_refuse(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(f"ALLOCATION_{variable}", value)

    with pytest.raises(ValidationError) as refusal:
        Settings()

    assert "s3cret" not in str(refusal.value)
