-- stage.account: one row per (platform account) that has an owner at $known_at
-- from: marts.person_link, landed.platform_worker as known at $known_at
-- note: first_order_on falls back to the day of registration; the orders themselves may show an earlier day, which
--       stage.person_start takes into account.
with worker as (
    select *
    from landed.platform_worker
    where known_on <= $known_at
    qualify row_number() over (
        partition by record_key order by source_updated_at desc, known_on desc, row_no desc) = 1 and op <> 'D'
), linked as (
    select distinct person_id, issuer, account_token
    from marts.person_link
    where link_method = 'worker_id' and valid_from <= $known_at and (valid_to is null or valid_to > $known_at)
)
select linked.person_id, worker.platform_code, worker.platform_worker_id_token as account_token,
    platform.sector, worker.occupation_kind, worker.registered_region,
    timezone('Asia/Shanghai', worker.registered_at)::date as registered_on,
    timezone('Asia/Shanghai', worker.first_order_at)::date as first_order_on,
    timezone('Asia/Shanghai', worker.deactivated_at)::date as deactivated_on,
    worker.account_status = 'active'
        and (worker.deactivated_at is null or timezone('Asia/Shanghai', worker.deactivated_at)::date >= $as_of)
        as is_active,
    worker.shared_account_flag as is_shared
from worker
join linked on linked.issuer = worker.platform_code and linked.account_token = worker.platform_worker_id_token
left join reference.platform as platform on platform.platform_code = worker.platform_code
