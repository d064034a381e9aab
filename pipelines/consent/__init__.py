"""Consent: agreements as data, and which consents are live for them at an instant."""

from pipelines.consent.agreement import Agreement, load, load_all
from pipelines.consent.live import check, live, live_sql

__all__ = ["Agreement", "check", "live", "live_sql", "load", "load_all"]
