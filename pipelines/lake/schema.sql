-- The lake's own tables; run once, under the writer's lock, whenever this text changes. Repeatable.
-- In three transactions: an option can be set only for a schema or table that is already committed.
-- landed.<feed>: contracts/ gives the DDL. marts.*, decisions.*: their rooms give it.
begin;
-- DuckLake 1.0 crashes in set_option while the catalog has a view (seen): drop it first, make it last.
drop view if exists control.watermark;
create schema if not exists landed;
create schema if not exists quarantine;
create schema if not exists marts;
create schema if not exists decisions;
create schema if not exists control;
create schema if not exists ledger;
commit;

-- Rows of control and ledger come one or two a commit: they live in the catalog, not in one-row files.
call lake.set_option('data_inlining_row_limit', 200, schema => 'control');
call lake.set_option('data_inlining_row_limit', 200, schema => 'ledger');

begin;
-- one row per pulled object: what lies in the vault, and what its sender said it holds
create table if not exists control.pulled (
    batch_id varchar not null, feed varchar not null, business_date date not null,
    window_from date not null, window_to date not null, object_no integer not null,
    address varchar not null, ciphertext_sha256 varchar not null, bytes bigint not null,
    declared_records bigint, declared_fen bigint, source_name varchar
);

-- one row per batch and fate (a held batch that is released later has two): where every record went
create table if not exists control.batch (
    batch_id varchar not null, feed varchar not null, feed_version varchar not null, business_date date not null,
    window_from date not null, window_to date not null, kind varchar not null, objects integer not null,
    physical bigint not null, control_records bigint not null, landed bigint not null, quarantined bigint not null,
    duplicates bigint not null, not_kept bigint not null,
    fen_declared bigint, fen_landed bigint, fen_quarantined bigint, fen_duplicates bigint,
    fen_provable boolean not null, fate varchar not null, gate varchar
);

-- append-only: the windows that have landed, half-open; the watermark is a view on it
create table if not exists control.window (
    feed varchar not null, from_date date not null, to_date date not null,
    batch_id varchar not null, business_date date not null, fate varchar not null
);

-- one row per data file ever written: what it must still be when it is used
create table if not exists control.file (
    path varchar not null, sha256 varchar not null, bytes bigint not null,
    table_name varchar not null, batch_id varchar not null
);

-- one row per derived step and fingerprint of its inputs: same fingerprint, nothing to do
create table if not exists control.build (
    step varchar not null, business_date date not null, fingerprint varchar not null, snapshot bigint
);

-- one row per package
create table if not exists control.extract (
    agreement varchar not null, recipient varchar not null, sequence integer not null, business_date date not null,
    as_of date not null, manifest_sha256 varchar not null, previous_manifest_sha256 varchar,
    folder varchar not null, rows bigint not null, in_scope bigint not null, withheld varchar not null,
    status varchar not null
);

-- one row per person in scope of a package: sent, or withheld for one reason
create table if not exists control.extract_row (
    agreement varchar not null, recipient varchar not null, sequence integer not null, person_id uuid not null,
    consent_id varchar, consent_version integer, decision_no varchar, outcome varchar, withheld_reason varchar
);

-- one row per person whom a package tells its recipient to delete
create table if not exists control.deletion_notice (
    agreement varchar not null, recipient varchar not null, sequence integer not null, person_id uuid not null,
    consent_id varchar
);

-- one row per record that broke a reject rule: pointers into the vault, no identifier
create table if not exists quarantine.record (
    batch_id varchar not null, feed varchar not null, business_date date not null,
    object_address varchar not null, row_no bigint not null, record_key uuid,
    reasons varchar[] not null, money_fen bigint
);

-- one row per record that is already known, and which one it repeats
create table if not exists quarantine.duplicate (
    batch_id varchar not null, feed varchar not null, business_date date not null,
    object_address varchar not null, row_no bigint not null, record_key uuid,
    original_batch_id varchar not null, original_object_address varchar not null, original_row_no bigint not null,
    money_fen bigint
);

create table if not exists quarantine.warning (
    batch_id varchar not null, feed varchar not null, business_date date not null,
    object_address varchar not null, row_no bigint not null, record_key uuid, rule varchar not null
);

-- append-only: one hash chain per stream
create table if not exists ledger.entry (
    stream varchar not null, seq bigint not null, business_date date not null, kind varchar not null,
    body varchar not null, previous_hash varchar not null, hash varchar not null
);

-- append-only: the signed root over all streams, one chain of its own
create table if not exists ledger.head (
    head_no integer not null, business_date date not null, root varchar not null, streams integer not null,
    body varchar not null, signature blob not null
);
commit;

-- persons are never inlined: an erased row would stay readable in the catalog
call lake.set_option('data_inlining_row_limit', 0, schema => 'control', table_name => 'extract_row');
call lake.set_option('data_inlining_row_limit', 0, schema => 'control', table_name => 'deletion_notice');

-- one row per feed: the end of the unbroken prefix of its windows, whatever order they came in
create view if not exists control.watermark as
with reached as (
    select feed, from_date, to_date,
           max(to_date) over (partition by feed order by from_date, to_date
                              rows between unbounded preceding and 1 preceding) as covered_to
    from control.window where fate = 'landed'
), holes as (
    select feed, to_date,
           count(*) filter (where from_date > covered_to)
               over (partition by feed order by from_date, to_date) as holes_before
    from reached
)
select feed, max(to_date) as watermark from holes where holes_before = 0 group by feed;
