-- stage.person_start: one row per person whose first order lies before $as_of
-- from: stage.account, stage.order_day
-- note: the earlier of what the accounts say and what the orders show. The first, partial month never counts; a month
--       begun on its first day is whole.
with sign as (
    select person_id, first_order_on from stage.account
    union all
    select account.person_id, worked.service_date
    from stage.order_day as worked join stage.account as account using (platform_code, account_token)
    where worked.orders > 0
), start as (
    select person_id, min(first_order_on) as first_order_on from sign group by person_id
)
select person_id, first_order_on,
    case when first_order_on = date_trunc('month', first_order_on) then first_order_on
        else (date_trunc('month', first_order_on) + interval 1 month)::date end as first_full_month
from start where first_order_on < $as_of
