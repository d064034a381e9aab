-- stage.platform_month: one row per (platform_code, month) in which the platform delivered anything about anyone
-- from: stage.order_day, stage.earning_account_day
-- note: a month that is not here is an outage, so income in it is NULL, not 0. Months that began before the first
--       window ($history_from, NULL = unknown) are seen in part only and do not count either.
select platform_code, date_trunc('month', service_date)::date as month
from (
    select platform_code, service_date from stage.order_day
    union
    select platform_code, service_date from stage.earning_account_day
)
where $history_from::date is null or date_trunc('month', service_date) >= $history_from::date
group by all
