-- stage.vehicle: one row per person with a platform account: the vehicle on record
-- from: landed.platform_vehicle as known at $known_at, stage.account, reference.parameter (vehicle_rank)
-- note: of several, the one with the highest rank counts (a motor vehicle before a bicycle: the stricter duty). A rank
--       of 10 or more needs a driving licence. NULL everywhere when the feed has never delivered anything.
with latest as (
    select * from landed.platform_vehicle
    where known_on <= $known_at
    qualify row_number() over (
        partition by record_key order by source_updated_at desc, known_on desc, row_no desc) = 1 and op <> 'D'
), owned as (
    select account.person_id,
        arg_max(latest.vehicle_type, (coalesce(rank.value, 0), latest.vehicle_type)) as vehicle_main,
        max(coalesce(rank.value, 0)) as top_rank
    from latest
    join stage.account as account
        on account.platform_code = latest.platform_code and account.account_token = latest.platform_worker_id_token
    left join reference.parameter as rank
        on rank.parameter = 'vehicle_rank' and rank.key = latest.vehicle_type and rank.valid_from <= $as_of
        and (rank.valid_to is null or rank.valid_to >= $as_of)
    where latest.state = 'active'
    group by account.person_id
), delivered as (
    select count(*) > 0 as anything from latest
)
select enrolled.person_id, owned.vehicle_main,
    case when delivered.anything then owned.vehicle_main is not null end as vehicle_on_record,
    owned.top_rank >= 10 as vehicle_needs_licence
from (select distinct person_id from stage.account) as enrolled
cross join delivered
left join owned using (person_id)
