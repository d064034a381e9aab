-- stage.payout_stat: one row per person with settlements in [as_of - 90, as_of): rhythm, and how much the bank confirms
-- from: stage.settlement, stage.payout_match
-- note: ties of a mode go to the latest. The match rate is by money, over settlements that were paid.
with recent as (
    select settled.*, matched.txn_key is not null as is_matched
    from stage.settlement as settled left join stage.payout_match as matched
        on matched.settlement_key = settled.record_key
    where settled.paid_on >= $as_of - 90 and settled.paid_on < $as_of and settled.status = 'paid'
), cycle as (
    select person_id, arg_max(cycle, (n, last_on, cycle)) as payout_cycle
    from (select person_id, cycle, count(*) as n, max(paid_on) as last_on from recent group by person_id, cycle)
    group by person_id
), day_of_month as (
    select person_id, arg_max(dom, (n, last_on, dom)) as payout_dom_mode
    from (
        select person_id, day(paid_on)::integer as dom, count(*) as n, max(paid_on) as last_on
        from recent group by person_id, dom
    ) group by person_id
), matched as (
    select person_id, sum(settled_fen) as settled_fen,
        coalesce(sum(settled_fen) filter (where is_matched), 0) as matched_fen
    from recent group by person_id
)
select person_id, cycle.payout_cycle, day_of_month.payout_dom_mode,
    case when matched.settled_fen > 0
        then round(matched.matched_fen::double / matched.settled_fen::double, 6) end as payout_match_rate_90
from matched join cycle using (person_id) join day_of_month using (person_id)
