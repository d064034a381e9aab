-- stage.person_month: one row per (person, mature month since the first full month), platforms summed
-- from: stage.person_start, stage.month, marts.income_month, stage.platform_month
-- note: one silent platform makes the person's month NULL (unknown), for a sum without it would be too low. A month
--       with no account open at all is 0: nothing was earned.
with spine as (
    select start.person_id, month.month, month.nth_back
    from stage.person_start as start join stage.month as month on month.month >= start.first_full_month
), summed as (
    select person_id, month, bool_and(is_observed) as is_observed, sum(earned_fen)::bigint as earned_fen,
        sum(disposable_fen)::bigint as disposable_fen, sum(active_days)::bigint as active_days
    from marts.income_month group by person_id, month
)
select spine.person_id, spine.month, spine.nth_back,
    case when coalesce(summed.is_observed, covered.month is not null) then coalesce(summed.earned_fen, 0) end
        as earned_fen,
    case when coalesce(summed.is_observed, covered.month is not null) then coalesce(summed.disposable_fen, 0) end
        as disposable_fen,
    case when coalesce(summed.is_observed, covered.month is not null) then coalesce(summed.active_days, 0) end
        as active_days
from spine
left join summed using (person_id, month)
left join (select distinct month from stage.platform_month) as covered using (month)
