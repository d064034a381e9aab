-- stage.activity_share: one row per person with a platform account: main occupation, sectors and region
-- from: stage.order_day, stage.account
-- note: the main account has most active days in [as_of - 90, as_of); ties go to the older account. Who did not work
--       in those days keeps the account worked last, else the oldest that is active.
with worked as (
    select account_token, platform_code, sector,
        count(distinct service_date) filter (where service_date >= $as_of - 90) as active_days_90,
        max(service_date) as last_on
    from stage.order_day where is_active group by account_token, platform_code, sector
), account_total as (
    select account_token, platform_code, sum(active_days_90) as active_days_90, max(last_on) as last_on,
        arg_max(sector, (active_days_90, last_on, sector)) as sector
    from worked group by account_token, platform_code
), ranked as (
    select account.*, coalesce(account_total.active_days_90, 0) as active_days_90, account_total.last_on,
        coalesce(account_total.sector, account.sector) as worked_sector,
        bool_or(account.is_active) over (partition by account.person_id) as account_active,
        row_number() over (
            partition by account.person_id
            order by coalesce(account_total.active_days_90, 0) desc,
                case when coalesce(account_total.active_days_90, 0) > 0 then null else account_total.last_on end
                    desc nulls last,
                account.is_active desc, account.registered_on, account.platform_code, account.account_token
        ) as nth
    from stage.account as account left join account_total using (account_token, platform_code)
), sector_list as (
    -- where cover must be in force: every sector worked in 90 days, or that of the main account
    select ranked.person_id, coalesce(
        list_sort(list(distinct ranked.worked_sector) filter (where ranked.active_days_90 > 0)),
        list_sort(list(distinct ranked.worked_sector) filter (where ranked.nth = 1))) as sectors
    from ranked group by ranked.person_id
)
select ranked.person_id, ranked.occupation_kind as occupation_main, ranked.registered_region as region,
    ranked.platform_code as platform_main, sector_list.sectors, ranked.account_active
from ranked join sector_list using (person_id)
where ranked.nth = 1
