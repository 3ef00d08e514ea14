"""Addresses of databases: every form that libpq takes, and none of their secrets shown."""

import pytest

from allocation.adapters.postgresql.connection_info import connection_info, of_primary, shown_url

ODD = "é /:?#[]@!$&'()*+,;=%"
ODD_ENCODED = "%C3%A9%20%2F%3A%3F%23%5B%5D%40%21%24%26%27%28%29%2A%2B%2C%3B%3D%25"


@pytest.mark.parametrize(
    ("address", "parameters"),
    [
        ("postgresql://moi@db:5433/shop", {"user": "moi", "host": "db", "port": "5433", "dbname": "shop"}),
        ("postgres://db/shop", {"host": "db", "dbname": "shop"}),
        ("postgresql+psycopg://db/shop", {"host": "db", "dbname": "shop"}),
        ("postgresql://", {}),
        ("postgresql:///shop?host=/run/pg", {"dbname": "shop", "host": "/run/pg"}),
        ("postgresql://%2Frun%2Fpg/shop", {"dbname": "shop", "host": "/run/pg"}),
        ("postgresql://[::1]:1/shop", {"host": "::1", "port": "1", "dbname": "shop"}),
        (
            "postgresql://moi@h1:1,h2:2/shop?target_session_attrs=read-write",
            {
                "user": "moi",
                "host": "h1,h2",
                "port": "1,2",
                "dbname": "shop",
                "target_session_attrs": "read-write",
            },
        ),
        (
            f"postgresql://{ODD_ENCODED}:{ODD_ENCODED}@db/{ODD_ENCODED}",
            {"user": ODD, "password": ODD, "host": "db", "dbname": ODD},
        ),
        ("postgresql://?service=shop&passfile=/p", {"service": "shop", "passfile": "/p"}),
        ("host=/run/pg dbname=shop password='a b'", {"host": "/run/pg", "dbname": "shop", "password": "a b"}),
        (
            "postgresql:///shop?options=-c%20search_path%3Dmine",
            {"dbname": "shop", "options": "-c search_path=mine"},
        ),
    ],
)
def test_toute_adresse_que_libpq_comprend_est_comprise(address: str, parameters: dict[str, str]) -> None:
    assert connection_info(address) == parameters


@pytest.mark.parametrize(
    "address",
    ["mysql://moi:secret@db/shop", "secret", "postgresql://moi:secret%zz@db/shop", "password=secret autre"],
)
def test_ce_qui_n_est_pas_une_adresse_est_refusé_sans_être_répété(address: str) -> None:
    with pytest.raises(ValueError, match="only PostgreSQL is supported") as refused:
        connection_info(address)

    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://moi:secret@db/shop", "postgresql://moi:***@db/shop"),
        ("postgresql://db/shop?user=moi&password=secret", "postgresql://moi:***@db/shop"),
        ("postgresql://moi@db/shop?sslpassword=secret", "postgresql://moi@db/shop?sslpassword=***"),
        ("postgresql://:secret@h1:1,h2:2/shop", "postgresql://:***@h1:1,h2:2/shop"),
        ("postgresql://[::1]:1/shop", "postgresql://[::1]:1/shop"),
        ("postgresql://moi@h1,h2/shop?port=5433", "postgresql://moi@h1:5433,h2:5433/shop"),
        ("host=/run/pg dbname=shop password=secret", "postgresql://:***@/shop?host=/run/pg"),
        ("postgresql://?service=shop", "postgresql:///?service=shop"),
    ],
)
def test_une_adresse_montrée_ne_dit_aucun_secret(address: str, shown: str) -> None:
    assert shown_url(address) == shown
    assert connection_info(shown).get("password") in {None, "***"}


def test_de_plusieurs_serveurs_celui_qui_écrit_est_pris_sauf_avis_contraire(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def chosen(address: str) -> str | None:
        return of_primary(connection_info(address)).get("target_session_attrs")

    assert chosen("postgresql://h1,h2/shop") == "read-write"
    assert chosen("postgresql://h1,h2/shop?target_session_attrs=any") == "any"
    assert chosen("postgresql://h1/shop") is None
    monkeypatch.setenv("PGHOST", "h1,h2")
    assert chosen("postgresql:///shop") == "read-write"
    monkeypatch.setenv("PGTARGETSESSIONATTRS", "primary")
    assert chosen("postgresql:///shop") is None
