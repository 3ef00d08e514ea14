"""Settings, from environment variables that start with ALLOCATION_."""

import os
from pathlib import Path
from typing import Annotated

import platformdirs
from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from allocation.adapters.postgresql.connection_info import connection_info, shown_url
from allocation.adapters.smtp_url import shown_smtp_url, smtp_address


def _default_data_dir() -> Path:
    # PostgreSQL refuses to run as root; it runs as a user of its own, which can't read root's home.
    if os.name == "posix" and os.geteuid() == 0:
        return Path("/var/lib/allocation")
    return platformdirs.user_data_path("allocation")


def _check_database_url(url: str) -> str:
    connection_info(url)
    return url


def _check_smtp_url(url: str) -> str:
    smtp_address(url)
    return url


def _upper(word: object) -> object:
    return word.strip().upper() if isinstance(word, str) else word


class Settings(BaseSettings):
    """Everything that can be configured; each field is the environment variable ALLOCATION_<FIELD>."""

    # A refused value may be a URL with a password in it.
    model_config = SettingsConfigDict(
        env_prefix="ALLOCATION_", env_ignore_empty=True, frozen=True, hide_input_in_errors=True
    )

    database_url: Annotated[str, AfterValidator(_check_database_url)] | None = Field(
        default=None, repr=False, description="PostgreSQL to use; without it, an embedded one is started"
    )
    read_database_url: Annotated[str, AfterValidator(_check_database_url)] | None = Field(
        default=None,
        repr=False,
        description="streaming standby to read views from; without it, the database",
    )
    database_schema: str | None = Field(
        default=None,
        pattern="^[a-z_][a-z0-9_]{0,39}$",
        description="schema of this installation; without it, the first on the role's search path",
    )
    data_dir: Path = Field(
        default_factory=_default_data_dir, description="where the embedded PostgreSQL keeps its data"
    )
    archive_dir: Path | None = Field(
        default=None,
        description="where old events of the journal are moved; without it, archive in the data directory",
    )
    pool_size: int = Field(
        default=4,
        ge=1,
        le=1000,
        description="connections in each of an API process's four pools; fewer if the server allows fewer",
    )
    queue_size: int = Field(
        default=1000,
        ge=1,
        description="commands that may wait for a transaction in one process; further ones get 503",
    )
    smtp_url: Annotated[str, AfterValidator(_check_smtp_url)] | None = Field(
        default=None,
        repr=False,
        description="mail server for out-of-stock messages; without it, they are logged",
    )
    mail_from: str = Field(default="allocation@localhost", description="sender of these messages")
    mail_to: str = Field(default="stock@localhost", description="recipient of these messages")
    log_level: Annotated[str, BeforeValidator(_upper)] = Field(
        default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="DEBUG, INFO, WARNING or ERROR"
    )
    poll_interval: float = Field(
        default=1.0, gt=0, le=60, description="seconds between looks at the journal without a notification"
    )
    max_parked: int = Field(
        default=100,
        ge=1,
        description="number of SKUs with parked events at which a projection or subscription pauses",
    )
    ready_max_lag: float = Field(
        default=60.0, gt=0, description="seconds of projection lag above which /health/ready answers 503"
    )

    @property
    def archive_folder(self) -> Path:
        """Where old events of the journal are moved."""
        return self.archive_dir or self.data_dir / "archive"

    def shown(self) -> dict[str, str | None]:
        """The effective values as text, passwords masked."""
        values = {name: None if value is None else str(value) for name, value in self}
        shown = {"database_url": shown_url, "read_database_url": shown_url, "smtp_url": shown_smtp_url}
        for name, show in shown.items():
            if (value := values[name]) is not None:
                values[name] = show(value)
        return values
