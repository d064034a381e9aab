-- marts.income_month: one row per (person, platform_code, mature month) since the first order, at most twelve months
-- from: marts.earning_day, stage.person_start, stage.account, stage.month, stage.platform_month, reference.parameter
-- note: earned_fen is I_m of DOMAIN B2. 0 = enrolled and nothing earned; NULL = the platform was silent about
--       everybody. op_cost_fen = rent and premiums on the ledger + the sector's dated ratio of income for what no
--       ledger shows (energy, tolls not paid back), rounded half up.
with enrolled as (
    select account.person_id, account.platform_code, month.month,
        max(month.nth_back) as nth_back, min(account.sector) as sector
    from stage.account as account
    join stage.person_start as start using (person_id)
    join stage.month as month
        on month.month >= start.first_full_month
        and last_day(month.month) >= coalesce(account.first_order_on, account.registered_on)
        and (account.deactivated_on is null or account.deactivated_on > month.month)
    group by account.person_id, account.platform_code, month.month
), booked as (
    select day.person_id, day.platform_code, month.month, max(month.nth_back) as nth_back,
        sum(day.earned_fen)::bigint as earned_fen, sum(day.deducted_cost_fen)::bigint as deducted_cost_fen,
        count(*) filter (where day.is_active) as active_days, sum(day.orders)::bigint as orders
    from marts.earning_day as day
    join stage.person_start as start using (person_id)
    join stage.month as month on month.month = date_trunc('month', day.service_date)
        and month.month >= start.first_full_month
    group by day.person_id, day.platform_code, month.month
), merged as (
    select person_id, platform_code, month, coalesce(enrolled.nth_back, booked.nth_back) as nth_back,
        coalesce(booked.earned_fen, 0) as earned_fen, coalesce(booked.deducted_cost_fen, 0) as deducted_cost_fen,
        coalesce(booked.active_days, 0) as active_days, coalesce(booked.orders, 0) as orders
    from enrolled full join booked using (person_id, platform_code, month)
), seen as (
    select merged.*, observed.month is not null as is_observed, coalesce(ratio.value, 0) as cost_ratio_bp
    from merged
    left join stage.platform_month as observed using (platform_code, month)
    left join reference.platform as platform on platform.platform_code = merged.platform_code
    left join reference.parameter as ratio
        on ratio.parameter = 'cost_ratio_bp' and ratio.key = platform.sector and ratio.valid_from <= merged.month
        and (ratio.valid_to is null or ratio.valid_to >= merged.month)
), priced as (
    select *, deducted_cost_fen + (greatest(earned_fen, 0) * cost_ratio_bp + 5000) // 10000 as cost_fen from seen
)
select person_id, platform_code, month, nth_back, is_observed,
    case when is_observed then earned_fen end as earned_fen,
    case when is_observed then cost_fen end as op_cost_fen,
    case when is_observed then earned_fen - cost_fen end as disposable_fen,
    case when is_observed then active_days end as active_days,
    case when is_observed then orders end as orders
from priced
order by person_id, platform_code, month
