-- stage.order_day: one row per (platform account, sector, Shanghai date) with completed orders
-- from: landed.platform_order as known at $known_at
-- note: an order counts on the day it was accepted, as its injury cover does, even if it ends after midnight.
--       Freight is at work from pick-up to receipt: those days are active without a new order (orders = 0).
with latest as (
    select platform_code, platform_worker_id_token as account_token, sector, status, task_count, distance_m,
        customer_paid_fen, cash_fen,
        timezone('Asia/Shanghai', coalesce(accepted_at, created_at))::date as accepted_on,
        case when sector in ('intracity_freight', 'longhaul_freight')
            then timezone('Asia/Shanghai', coalesce(picked_at, accepted_at, created_at))::date end as picked_on,
        case when sector in ('intracity_freight', 'longhaul_freight')
            then timezone('Asia/Shanghai', completed_at)::date end as received_on
    from landed.platform_order
    where known_on <= $known_at
    qualify row_number() over (
        partition by record_key order by source_updated_at desc, known_on desc, row_no desc) = 1 and op <> 'D'
), completed as (
    select * from latest where status = 'completed' and accepted_on < $as_of
), counted as (
    select platform_code, account_token, sector, accepted_on as service_date, count(*) as orders,
        sum(task_count)::bigint as tasks, sum(distance_m)::bigint as distance_m,
        sum(customer_paid_fen)::bigint as customer_paid_fen, sum(cash_fen)::bigint as cash_fen,
        bool_or(picked_on is null or picked_on <= accepted_on) as is_active
    from completed group by platform_code, account_token, sector, accepted_on
), travelled as (
    -- 60 days: no waybill of the province takes longer, so a wrong receipt date cannot invent a year of work
    select distinct platform_code, account_token, sector,
        unnest(generate_series(picked_on::timestamp, least(received_on, picked_on + 60)::timestamp,
            interval 1 day))::date as service_date
    from completed
    where received_on >= picked_on and (received_on > picked_on or picked_on > accepted_on)
)
select platform_code, account_token, sector, service_date,
    coalesce(counted.orders, 0)::bigint as orders, coalesce(counted.tasks, 0)::bigint as tasks,
    counted.distance_m, counted.customer_paid_fen, counted.cash_fen,
    coalesce(counted.is_active, false) or travelled.service_date is not null as is_active
from counted full join travelled using (platform_code, account_token, sector, service_date)
where service_date < $as_of
