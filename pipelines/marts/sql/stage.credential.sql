-- stage.credential: one row per person with a platform account: licence and occupational permit
-- from: landed.platform_credential as known at $known_at, stage.account, stage.activity_share
-- note: valid_to is inclusive, so 0 days left is still valid; a negative number says how long ago it ended. A suspended
--       or revoked credential counts as none. permit_days_left is of the permit that the main occupation needs (NULL
--       for couriers, who need none).
with latest as (
    select account.person_id, latest.credential_type, latest.valid_from, latest.valid_to, latest.status
    from (
        select * from landed.platform_credential
        where known_on <= $known_at
        qualify row_number() over (
            partition by record_key order by source_updated_at desc, known_on desc, row_no desc) = 1 and op <> 'D'
    ) as latest
    join stage.account as account
        on account.platform_code = latest.platform_code and account.account_token = latest.platform_worker_id_token
    where latest.status in ('valid', 'expired') and latest.valid_from <= $as_of
), held as (
    select latest.person_id,
        max(valid_to) filter (where credential_type = 'driving_licence') as licence_valid_to,
        max(valid_to) filter (where credential_type = case main.occupation_main
            when 'ride_hailing_driver' then 'ride_hailing_driver_permit'
            when 'taxi_driver' then 'taxi_qualification'
            when 'truck_driver' then 'road_freight_qualification' end) as permit_valid_to,
        bool_or(credential_type in ('taxi_qualification', 'road_freight_qualification') and status = 'valid'
            and valid_to >= $as_of) as permit_valid
    from latest left join stage.activity_share as main using (person_id)
    group by latest.person_id
), delivered as (
    select count(*) > 0 as anything from landed.platform_credential where known_on <= $known_at
)
select enrolled.person_id,
    case when delivered.anything then coalesce(held.permit_valid, false) end as permit_valid,
    (held.licence_valid_to - $as_of)::integer as licence_days_left,
    (held.permit_valid_to - $as_of)::integer as permit_days_left,
    case when delivered.anything then coalesce(held.licence_valid_to >= $as_of, false) end as licence_valid
from (select distinct person_id from stage.account) as enrolled
cross join delivered
left join held using (person_id)
