"""SQL for the fates that need other rows: duplicates, conflicts, references.

Promises: a version of a record that is landed stands: the same content again is its duplicate, other content a
          conflict (S11). In a batch, the same content again is a duplicate of its first row (object_no, row_no);
          if contents differ, all are conflicts: nobody can say which is true, and no order of pages may decide.
Refuses:  to look at rows that a rule has already broken: they are quarantined for that, once, and never originals.
Not here: where the tables come from (bench.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.contracts.row_checks import literal, quoted

if TYPE_CHECKING:
    from pipelines.contracts import Contract, Field

CREATE_KNOWN = """
CREATE OR REPLACE TABLE known (record_key UUID, source_updated_at TIMESTAMPTZ, record_hash UUID,
  batch_id VARCHAR, object_address VARCHAR, row_no BIGINT)"""

INSERT_KNOWN = """
INSERT INTO known
SELECT DISTINCT ON (record_key, source_updated_at) CAST(record_key AS UUID), source_updated_at,
  CAST(record_hash AS UUID), batch_id, object_address, row_no
FROM known_arrow
ORDER BY record_key, source_updated_at, batch_id, object_address, row_no"""


def known_table(field: Field) -> str:
    return quoted(f"known {field.name}")


def unreferenced_sql(contract: Contract) -> str:
    """Rows that point at a record which is neither in this batch nor landed, with the reasons."""
    broken = []
    for field in contract.reference_fields:
        feed, _, target = str(field.references).partition(".")
        token = quoted(field.name + "_token")
        there = [f"SELECT token FROM {known_table(field)}"]
        if feed == contract.feed:
            there.append(f"SELECT {quoted(target + '_token')} FROM judged")
        broken.append(
            f"SELECT object_no, row_no, {literal(field.name + '.reference')} AS reason FROM judged\n"
            f"  WHERE {token} IS NOT NULL AND \"op\" IS DISTINCT FROM 'D'\n"
            f"    AND NOT EXISTS (SELECT 1 FROM ({' UNION ALL '.join(there)}) AS there(token)\n"
            f"                    WHERE there.token = judged.{token})"
        )
    if not broken:
        return "SELECT object_no, row_no, _reasons AS reasons FROM judged WHERE FALSE"
    return (
        f"SELECT object_no, row_no, list(reason ORDER BY reason) AS reasons FROM ({' UNION ALL '.join(broken)})\n"
        "GROUP BY object_no, row_no"
    )


# Only records that occur twice, or are landed already, are ranked; nearly all are neither.
CONTESTED = """
CREATE OR REPLACE TABLE contested AS
WITH again AS (
  SELECT record_key, source_updated_at FROM known
  UNION
  SELECT record_key, source_updated_at FROM judged WHERE len(_reasons) = 0
  GROUP BY record_key, source_updated_at HAVING count(*) > 1
), versions AS (
  SELECT object_no, row_no, record_key, source_updated_at, record_hash
  FROM judged SEMI JOIN again USING (record_key, source_updated_at)
  WHERE len(_reasons) = 0
    AND NOT EXISTS (SELECT 1 FROM unreferenced u WHERE u.object_no = judged.object_no AND u.row_no = judged.row_no)
), firsts AS (
  SELECT record_key, source_updated_at, min({'object_no': object_no, 'row_no': row_no}) AS first,
    count(DISTINCT record_hash) > 1 AS is_disputed
  FROM versions GROUP BY record_key, source_updated_at
)
SELECT v.object_no, v.row_no,
  CASE WHEN k.record_key IS NULL THEN NOT f.is_disputed ELSE v.record_hash = k.record_hash END AS is_same,
  k.batch_id AS original_batch_id,
  k.object_address AS original_object_address,
  CASE WHEN k.record_key IS NULL THEN f.first.object_no END AS original_object_no,
  COALESCE(k.row_no, f.first.row_no) AS original_row_no
FROM versions v
JOIN firsts f ON f.record_key = v.record_key AND f.source_updated_at = v.source_updated_at
LEFT JOIN known k ON k.record_key = v.record_key AND k.source_updated_at = v.source_updated_at
WHERE k.record_key IS NOT NULL OR f.is_disputed
  OR f.first.object_no <> v.object_no OR f.first.row_no <> v.row_no"""

# Every row with its one fate; the two small tables are joined once.
FATES = """
CREATE OR REPLACE VIEW fates AS
SELECT j.*, c.is_same, c.original_batch_id, c.original_object_address, c.original_object_no, c.original_row_no,
  CASE WHEN len(j._reasons) > 0 OR u.row_no IS NOT NULL OR NOT c.is_same THEN 'quarantined'
       WHEN c.is_same THEN 'duplicate'
       ELSE 'accepted' END AS fate,
  CASE WHEN u.row_no IS NULL AND c.row_no IS NULL THEN j._reasons
       ELSE j._reasons || COALESCE(u.reasons, CAST([] AS VARCHAR[]))
         || CASE WHEN NOT c.is_same THEN ['record.conflict'] ELSE CAST([] AS VARCHAR[]) END
  END AS reasons
FROM judged j
LEFT JOIN contested c ON c.object_no = j.object_no AND c.row_no = j.row_no
LEFT JOIN unreferenced u ON u.object_no = j.object_no AND u.row_no = j.row_no"""

COUNTS = """
SELECT fate, count(*), COALESCE(sum(CAST(_money_fen AS HUGEINT)), 0), count(*) FILTER (_money_unproved),
  count(*) FILTER (len(_warnings) > 0)
FROM fates GROUP BY fate"""
