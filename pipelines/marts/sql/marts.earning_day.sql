-- marts.earning_day: one row per (person, platform_code, service_date) with orders or earning lines
-- from: stage.order_day, stage.earning_account_day, stage.account
-- note: a person's accounts on one platform are summed. orders counts completed orders only; is_active says that
--       the day counts as a day of work. distance, customer_paid and cash are NULL where the platform does not say.
with order_day as (
    select account.person_id, worked.platform_code, worked.service_date, sum(worked.orders)::bigint as orders,
        sum(worked.tasks)::bigint as tasks, sum(worked.distance_m)::bigint as distance_m,
        sum(worked.customer_paid_fen)::bigint as customer_paid_fen, sum(worked.cash_fen)::bigint as cash_fen,
        bool_or(worked.is_active) as is_active
    from stage.order_day as worked join stage.account as account using (platform_code, account_token)
    group by account.person_id, worked.platform_code, worked.service_date
), earned_day as (
    select account.person_id, earned.platform_code, earned.service_date, sum(earned.earned_fen)::bigint as earned_fen,
        sum(earned.gross_fen)::bigint as gross_fen, sum(earned.tip_fen)::bigint as tip_fen,
        sum(earned.clawback_fen)::bigint as clawback_fen,
        sum(earned.deducted_cost_fen)::bigint as deducted_cost_fen,
        sum(earned.cash_collected_fen)::bigint as cash_collected_fen
    from stage.earning_account_day as earned join stage.account as account using (platform_code, account_token)
    group by account.person_id, earned.platform_code, earned.service_date
)
select person_id, platform_code, service_date, coalesce(order_day.orders, 0)::bigint as orders,
    coalesce(order_day.tasks, 0)::bigint as tasks, coalesce(order_day.is_active, false) as is_active,
    order_day.distance_m, order_day.customer_paid_fen, order_day.cash_fen,
    coalesce(earned_day.earned_fen, 0)::bigint as earned_fen, coalesce(earned_day.gross_fen, 0)::bigint as gross_fen,
    coalesce(earned_day.tip_fen, 0)::bigint as tip_fen, coalesce(earned_day.clawback_fen, 0)::bigint as clawback_fen,
    coalesce(earned_day.deducted_cost_fen, 0)::bigint as deducted_cost_fen,
    coalesce(earned_day.cash_collected_fen, 0)::bigint as cash_collected_fen
from order_day full join earned_day using (person_id, platform_code, service_date)
order by person_id, platform_code, service_date
