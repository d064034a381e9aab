-- stage.activity_stat: one row per person with a platform account: days, orders, gaps, platforms
-- from: marts.earning_day, stage.account, stage.person_start, stage.counted_day, reference.parameter (tenure_gap_days)
-- note: windows are half-open and end before $as_of. Day counts run on counted days (stage.counted_day); sums of
--       orders and money on calendar days. A gap is looked for only where days could be seen ($history_from on), and
--       recency of somebody not seen at all counts from there: "at least". Enrolled without an order: tenure 0.
with today as (
    select max(counted_no) filter (where day = $as_of) as counted_no,
        (select max(value) from reference.parameter where parameter = 'tenure_gap_days' and valid_from <= $as_of
            and (valid_to is null or valid_to >= $as_of)) as gap_days
    from stage.counted_day
), active as (
    select day.person_id, day.service_date, max(counted.counted_no) as counted_no, sum(day.orders) as orders
    from marts.earning_day as day join stage.counted_day as counted on counted.day = day.service_date
    where day.is_active
    group by day.person_id, day.service_date
), mark as (
    -- the days between which a gap may lie: start of what can be seen, active days, as_of
    select person_id, counted_no from active
    union
    select start.person_id, counted.counted_no
    from stage.person_start as start
    join stage.counted_day as counted
        on counted.day = greatest(start.first_order_on, coalesce($history_from::date, start.first_order_on))
    union
    select start.person_id, today.counted_no from stage.person_start as start, today
), gap as (
    select person_id, counted_no - lag(counted_no) over (partition by person_id order by counted_no) as days
    from mark
), gap_total as (
    select gap.person_id, coalesce(sum(gap.days) filter (where gap.days > today.gap_days), 0)::integer as gap_days
    from gap, today group by gap.person_id
), week as (
    select person_id, count(*) as active_weeks_26
    from (
        select person_id, date_trunc('week', service_date) as week from active
        where service_date >= date_trunc('week', $as_of::date) - interval 26 week
            and service_date < date_trunc('week', $as_of::date)
        group by all having count(*) >= 3
    ) group by person_id
), counted as (
    select active.person_id,
        count(*) filter (where active.counted_no >= today.counted_no - 30) as active_days_30,
        count(*) filter (where active.counted_no >= today.counted_no - 90) as active_days_90,
        max(active.counted_no) as last_counted_no, max(active.service_date) as last_active_on
    from active, today group by active.person_id
), platform as (
    select person_id, platform_code,
        sum(orders) filter (where service_date >= $as_of - 30) as orders_30,
        sum(orders) filter (where service_date >= $as_of - 90) as orders_90,
        sum(orders) filter (where service_date = $as_of - 1) as orders_day,
        greatest(sum(earned_fen) filter (where service_date >= $as_of - 90), 0) as earned_90_fen,
        sum(gross_fen) filter (where service_date >= $as_of - 90) as gross_90_fen,
        sum(clawback_fen) filter (where service_date >= $as_of - 90) as clawback_90_fen,
        sum(customer_paid_fen) filter (where service_date >= $as_of - 90) as customer_paid_90_fen,
        sum(cash_fen) filter (where service_date >= $as_of - 90) as cash_90_fen
    from marts.earning_day group by person_id, platform_code
), total as (
    select person_id, coalesce(sum(orders_30), 0)::bigint as orders_30, coalesce(sum(orders_90), 0)::bigint as orders_90,
        coalesce(sum(orders_day), 0)::bigint as orders_day,
        count(*) filter (where orders_90 > 0) as n_platforms_90,
        case when sum(earned_90_fen) > 0
            then round(max(earned_90_fen)::double / sum(earned_90_fen)::double, 6) end as top_share_90,
        case when sum(gross_90_fen) > 0
            then round(sum(clawback_90_fen)::double / sum(gross_90_fen)::double, 6) end as clawback_rate_90,
        case when sum(customer_paid_90_fen) > 0
            then round(coalesce(sum(cash_90_fen), 0)::double / sum(customer_paid_90_fen)::double, 6) end as cash_share_90
    from platform group by person_id
), tenure as (
    select start.person_id, start.first_order_on, gap_total.gap_days,
        start.first_order_on + gap_total.gap_days as counts_from
    from stage.person_start as start join gap_total using (person_id)
)
select enrolled.person_id, tenure.first_order_on,
    coalesce(greatest((year($as_of) - year(tenure.counts_from)) * 12 + month($as_of) - month(tenure.counts_from)
        - case when day($as_of) < day(tenure.counts_from) then 1 else 0 end, 0), 0)::integer
        as tenure_cont_months,
    coalesce(counted.active_days_30, 0)::integer as active_days_30,
    coalesce(counted.active_days_90, 0)::integer as active_days_90,
    coalesce(week.active_weeks_26, 0)::integer as active_weeks_26,
    (today.counted_no - coalesce(counted.last_counted_no, seen.counted_no))::integer as recency_days,
    counted.last_active_on,
    coalesce(total.orders_30, 0)::bigint as orders_30, coalesce(total.orders_90, 0)::bigint as orders_90,
    coalesce(total.orders_day, 0)::bigint as orders_day,
    coalesce(total.n_platforms_90, 0)::integer as n_platforms_90,
    total.top_share_90, total.clawback_rate_90, total.cash_share_90
from (select distinct person_id from stage.account) as enrolled
cross join today
left join tenure using (person_id)
left join stage.counted_day as seen
    on seen.day = greatest(tenure.first_order_on, coalesce($history_from::date, tenure.first_order_on))
left join counted using (person_id)
left join week using (person_id)
left join total using (person_id)
