"""The tables of schema `decisions`, and what of them stands.

Promises: decisions are added, never changed: a corrected one names the row that it supersedes, in the same night.
Not here: who writes them (decide.py).
"""

DECISION = "decisions.decision"
TRACE = "decisions.trace"

# One row per live application (agreement, consent, product) and night; a further one when the night is corrected.
# Money in fen, dates in Shanghai. reasons: JSON list, nearest first. content_hash: of what the row says to others.
DECISION_DDL = """
decision_no varchar not null, agreement varchar not null, recipient varchar not null, product varchar not null,
product_version varchar not null, rule_hash varchar not null, person_id uuid not null, consent_id varchar not null,
consent_version integer, phase varchar not null, business_date date not null, as_of date not null,
known_at date not null, decided_on date not null, valid_until date not null, outcome varchar not null,
tier varchar, limit_fen bigint, max_instalment_fen bigint, sweep_bp integer, payout_cycle varchar,
payout_dom integer, conditions varchar[], reason_codes varchar[], reasons varchar, verification_grade varchar,
source_as_of date, identity_match varchar, change_type varchar not null, change_reason varchar, supersedes varchar,
review boolean not null, dispute boolean not null, consent_expires date, delete_by date,
cover_from timestamptz, cover_to timestamptz, variant varchar, vehicle varchar, sum_insured_fen bigint,
premium_basis varchar, duplicate_cover boolean, feature_hash varchar, content_hash varchar not null,
revision integer not null
"""

# One row per decision and cell: what was looked at tonight, also where an earlier decision still stands.
TRACE_DDL = """
decision_no varchar not null, table_row varchar not null, feature varchar not null, value varchar,
threshold varchar not null, result varchar not null, reason_code varchar not null
"""

# Rows that no later row of their own night corrects.
STANDING = f"""
select * from {DECISION} as d where not exists (
    select 1 from {DECISION} as later
    where later.supersedes = d.decision_no and later.business_date = d.business_date
)
"""
