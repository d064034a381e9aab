"""One typed settings object, from SANCHE_* variables and an optional sanche.toml in the working folder.

Promises: every path that sanche writes to hangs off `home`; folders are made 0700 by whoever first needs them.
Refuses:  secrets. Keys and passphrases are files of their own (privacy/), connections too (sources/).
Not here: what a feed or a product says (schemas/).
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

REPOSITORY = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """Where things lie and how much of the machine may be used."""

    model_config = SettingsConfigDict(env_prefix="SANCHE_", toml_file="sanche.toml", extra="forbid")

    home: Path = Field(default=Path("var"), description="Everything the hub writes lies below this folder.")
    schemas: Path = Field(default=REPOSITORY / "schemas", description="Contracts, products, agreements.")
    memory_limit: str = Field(
        default="800MB", pattern=r"^\d+(\.\d+)? ?[KMGT]i?B$", description="DuckDB's cap for one step."
    )
    threads: int = Field(default=2, ge=1, description="DuckDB's threads for one step.")
    first_load_months: int = Field(default=13, ge=1, description="History asked for when a feed is new.")
    lock_wait_s: float = Field(default=120.0, gt=0, description="How long a writer waits for the lake's lock.")
    page_rows: int = Field(default=20_000, ge=1, description="Records asked for per page of an HTTP source.")
    http_timeout_s: float = Field(default=30.0, gt=0, description="Per request, connect and read.")
    source_attempts: int = Field(default=5, ge=1, description="Tries per request before a pull gives up.")
    processes: str = Field(
        default="spawn",
        pattern="^(spawn|forkserver)$",
        description="How a step's own process starts: spawn = a fresh interpreter; forkserver = forked from "
        "a warm template that has the libraries loaded and no key (the demo, `sanche night`).",
    )

    @property
    def keys_dir(self) -> Path:
        return self.home / "keys"

    @property
    def secrets_dir(self) -> Path:
        return self.home / "secrets"

    @property
    def recipients_dir(self) -> Path:
        return self.home / "recipients"

    @property
    def connections_file(self) -> Path:
        return self.home / "connections.json"

    @property
    def vault_dir(self) -> Path:
        return self.home / "vault"

    @property
    def lake_dir(self) -> Path:
        return self.home / "lake"

    @property
    def ledger_dir(self) -> Path:
        return self.home / "ledger"

    @property
    def outbox_dir(self) -> Path:
        return self.home / "outbox"

    @property
    def docs_dir(self) -> Path:
        return self.home / "docs"

    @property
    def report_dir(self) -> Path:
        return self.home / "report"

    @property
    def tmp_dir(self) -> Path:
        return self.home / "tmp"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)
