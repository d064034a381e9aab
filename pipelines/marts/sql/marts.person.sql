-- marts.person: one row per person whom some source knows at $known_at
-- from: stage.link, stage.person_key, stage.account, stage.settlement, stage.activity_share,
--       landed.si_person as known at $known_at
-- note: conflicts are said, not resolved: two numbers for one person, two names, an account that several people
--       use. NULL means no evidence: person_status without a social-insurance record, shared_account without a flag.
with open_link as (
    select keyed.person_id, link.*
    from stage.link as link join stage.person_key as keyed on keyed.id_token = link.id_token
    where link.valid_from <= $known_at and (link.valid_to is null or link.valid_to > $known_at)
), named as (
    select person_id,
        case when bool_or(id_verdict = 'ok') then 'ok' else max(id_verdict) end as id_verdict,
        max(birth_date) as birth_date, max(gender) as gender,
        count(distinct id_token) > 1 as id_conflict,
        count(distinct name_token) > 1 as name_conflict
    from open_link group by person_id
), phone as (
    select mobile_token, count(distinct person_id) as persons from open_link
    where mobile_token is not null group by mobile_token
), shared_phone as (
    select open_link.person_id, max(phone.persons)::integer as shared_phone_n
    from open_link join phone using (mobile_token) group by open_link.person_id
), purse as (
    select person_id, account_token from open_link where link_method = 'holder_id'
    union
    select person_id, payee_token from stage.settlement where payee_token is not null
), shared_purse as (
    select purse.person_id, max(counted.persons)::integer as shared_bank_n
    from purse
    join (select account_token, count(*) as persons from purse group by account_token) as counted
        using (account_token)
    group by purse.person_id
), insured as (
    select keyed.person_id, max(insured.person_status) as person_status, max(insured.death_date) as death_date
    from (
        select * from landed.si_person where known_on <= $known_at
        qualify row_number() over (
            partition by record_key order by source_updated_at desc, known_on desc, row_no desc) = 1 and op <> 'D'
    ) as insured
    join stage.person_key as keyed on keyed.id_token = insured.id_no_token
    group by keyed.person_id
), flagged as (
    select person_id, bool_or(is_shared) as shared_account from stage.account group by person_id
)
select named.person_id, named.id_verdict, named.birth_date, named.gender,
    main.occupation_main, main.region, insured.person_status, insured.death_date,
    named.id_conflict, named.name_conflict, flagged.shared_account,
    shared_phone.shared_phone_n, shared_purse.shared_bank_n
from named
left join stage.activity_share as main using (person_id)
left join insured using (person_id)
left join flagged using (person_id)
left join shared_phone using (person_id)
left join shared_purse using (person_id)
order by named.person_id
