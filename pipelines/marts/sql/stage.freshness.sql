-- stage.freshness: one row per person: how many days ago the sources about him last delivered anything, about anyone
-- from: landed.* as known at $known_at, stage.account, marts.person_link
-- note: 0 = something came with this business date. Of several platforms (or banks) the stalest counts, among those
--       where the person has an open account; without any bank of his own the stalest of all banks, since dues may lie
--       at each of them. NULL = never delivered.
with platform_heard as (
    select platform_code, max(known_on) as heard_on
    from (
        select platform_code, max(known_on) as known_on from landed.platform_order
        where known_on <= $known_at group by platform_code
        union all
        select platform_code, max(known_on) from landed.platform_earning_line
        where known_on <= $known_at group by platform_code
        union all
        select platform_code, max(known_on) from landed.platform_settlement
        where known_on <= $known_at group by platform_code
        union all
        select platform_code, max(known_on) from landed.platform_worker
        where known_on <= $known_at group by platform_code
    ) group by platform_code
), bank_heard as (
    select bank_code, max(known_on) as heard_on
    from (
        select bank_code, max(known_on) as known_on from landed.bank_txn
        where known_on <= $known_at group by bank_code
        union all
        select bank_code, max(known_on) from landed.bank_obligation where known_on <= $known_at group by bank_code
    ) group by bank_code
), si_heard as (
    select max(known_on) as heard_on
    from (
        select max(known_on) as known_on from landed.si_contribution_month where known_on <= $known_at
        union all
        select max(known_on) from landed.si_person where known_on <= $known_at
        union all
        select max(known_on) from landed.occ_injury_order_day where known_on <= $known_at
    )
), platform_of as (
    select account.person_id, min(platform_heard.heard_on) as heard_on
    from stage.account as account left join platform_heard using (platform_code)
    where account.is_active
        or not exists (select 1 from stage.account as other
            where other.person_id = account.person_id and other.is_active)
    group by account.person_id
), bank_of as (
    select link.person_id, min(bank_heard.heard_on) as heard_on
    from marts.person_link as link join bank_heard on bank_heard.bank_code = link.issuer
    where link.source = 'bank' and link.valid_from <= $known_at
        and (link.valid_to is null or link.valid_to > $known_at)
    group by link.person_id
), any_bank as (
    select min(heard_on) as heard_on from bank_heard
)
select person.person_id,
    ($known_at - platform_of.heard_on)::integer as freshness_days_platform,
    ($known_at - coalesce(bank_of.heard_on, any_bank.heard_on))::integer as freshness_days_bank,
    ($known_at - si_heard.heard_on)::integer as freshness_days_si
from (select distinct person_id from stage.person_key) as person
cross join si_heard
cross join any_bank
left join platform_of using (person_id)
left join bank_of using (person_id)
