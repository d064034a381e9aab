-- stage.link: one row per (source record, span of business dates) in which it named the same identifiers
-- from: landed.platform_worker, bank_account, bank_obligation, si_person, consent, si_contribution_month,
--       occ_injury_order_day, as known at $link_known_at
-- note: spans run along known_on, so a night that is built again later finds the links that it had then; a version
--       that arrives late but is older than the current one opens no span. Contribution months and cover days carry
--       no name; they only say that the identifier exists, from the first day that it was heard of.
with versions as (
    select 'platform' as source, platform_code as issuer, 'worker_id' as link_method, record_key,
        known_on, source_updated_at, row_no, op, platform_worker_id_token as account_token, id_no_token as id_token,
        id_no_verdict as id_verdict, id_no_birth_date as birth_date, id_no_gender as gender,
        name_token, mobile_token
    from landed.platform_worker where known_on <= $link_known_at
    union all by name
    select 'bank' as source, bank_code as issuer, 'holder_id' as link_method, record_key,
        known_on, source_updated_at, row_no, op, account_no_token as account_token,
        holder_id_no_token as id_token, holder_id_no_verdict as id_verdict,
        holder_id_no_birth_date as birth_date, holder_id_no_gender as gender,
        holder_name_token as name_token, null::uuid as mobile_token
    from landed.bank_account where known_on <= $link_known_at
    union all by name
    select 'bank' as source, bank_code as issuer, 'borrower_id' as link_method, record_key,
        known_on, source_updated_at, row_no, op, loan_id_token as account_token,
        borrower_id_no_token as id_token, borrower_id_no_verdict as id_verdict,
        borrower_id_no_birth_date as birth_date, borrower_id_no_gender as gender,
        null::uuid as name_token, null::uuid as mobile_token
    from landed.bank_obligation where known_on <= $link_known_at
    union all by name
    select 'social_insurance' as source, '' as issuer, 'insured_id' as link_method, record_key,
        known_on, source_updated_at, row_no, op, null::uuid as account_token, id_no_token as id_token,
        id_no_verdict as id_verdict, id_no_birth_date as birth_date, id_no_gender as gender,
        name_token, null::uuid as mobile_token
    from landed.si_person where known_on <= $link_known_at
    union all by name
    select 'consent' as source, '' as issuer, 'consent_id' as link_method, record_key,
        known_on, source_updated_at, row_no, op, null::uuid as account_token, person_id_no_token as id_token,
        person_id_no_verdict as id_verdict, person_id_no_birth_date as birth_date, person_id_no_gender as gender,
        person_name_token as name_token, null::uuid as mobile_token
    from landed.consent where known_on <= $link_known_at
), last_of_day as (
    select * from versions
    qualify row_number() over (
        partition by source, link_method, record_key, known_on order by source_updated_at desc, row_no desc
    ) = 1
), winners as (
    select * from last_of_day
    qualify source_updated_at = max(source_updated_at) over (
        partition by source, link_method, record_key order by known_on
    )
), changes as (
    select * from winners
    window record as (partition by source, link_method, record_key order by known_on)
    qualify row_number() over record = 1
        or (account_token, id_token, name_token, mobile_token, id_verdict, op = 'D') is distinct from (
            lag(account_token) over record, lag(id_token) over record, lag(name_token) over record,
            lag(mobile_token) over record, lag(id_verdict) over record, lag(op = 'D') over record
        )
), spans as (
    select *, known_on as valid_from,
        lead(known_on) over (partition by source, link_method, record_key order by known_on) as valid_to
    from changes
), nameless as (
    select id_token, min(known_on) as valid_from, min(id_verdict) as id_verdict,
        max(birth_date) as birth_date, max(gender) as gender
    from (
        select id_no_token as id_token, known_on, id_no_verdict as id_verdict,
            id_no_birth_date as birth_date, id_no_gender as gender
        from landed.si_contribution_month where known_on <= $link_known_at
        union all
        select id_no_token, known_on, id_no_verdict, id_no_birth_date, id_no_gender
        from landed.occ_injury_order_day where known_on <= $link_known_at
    )
    where id_token is not null
    group by id_token
)
select source, issuer, link_method, record_key, account_token, id_token, name_token, mobile_token,
    id_verdict, birth_date, gender, valid_from, valid_to
from spans where op <> 'D' and id_token is not null
union all by name
select 'social_insurance' as source, '' as issuer, 'contribution' as link_method, id_token as record_key,
    null::uuid as account_token, id_token, null::uuid as name_token, null::uuid as mobile_token,
    id_verdict, birth_date, gender, valid_from, null::date as valid_to
from nameless
