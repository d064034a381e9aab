-- stage.cover_stat: one row per person with a platform account: statutory cover of occupational injury
-- from: landed.occ_injury_order_day, landed.si_param as known at $known_at, marts.earning_day, marts.si_month,
--       stage.activity_share, stage.person_key
-- note: per-order cover exists by sector and region and date; of region parameters the nearest level speaks (county,
--       city, province), a line without a sector for all of them. in_force only if every sector that the person works
--       in is covered, or an employer pays work-injury insurance. NULL = no parameter has ever been delivered.
with covered as (
    select distinct keyed.person_id, latest.cover_date
    from (
        select * from landed.occ_injury_order_day
        where known_on <= $known_at
        qualify row_number() over (
            partition by record_key order by source_updated_at desc, known_on desc, row_no desc) = 1 and op <> 'D'
    ) as latest
    join stage.person_key as keyed on keyed.id_token = latest.id_no_token
    where latest.cover_date >= $as_of - 90 and latest.cover_date < $as_of and latest.order_count > 0
), active as (
    select distinct person_id, service_date from marts.earning_day
    where is_active and service_date >= $as_of - 90
), ratio as (
    select active.person_id, count(*) as active_days, count(covered.cover_date) as covered_days
    from active left join covered on covered.person_id = active.person_id and covered.cover_date = active.service_date
    group by active.person_id
), cover_total as (
    select person_id, count(*) as days from covered group by person_id
), pilot as (
    select region, sector, value from landed.si_param
    where known_on <= $known_at
    qualify row_number() over (
        partition by record_key order by source_updated_at desc, known_on desc, row_no desc) = 1
        and op <> 'D' and param = 'occ_injury_pilot'
        and valid_from <= $as_of and (valid_to is null or valid_to >= $as_of)
), sector_of as (
    select person_id, region, unnest(sectors) as sector from stage.activity_share
), pilot_of as (
    select sector_of.person_id, sector_of.sector,
        arg_max(pilot.value, (
            case pilot.region when sector_of.region then 3 when left(sector_of.region, 4) || '00' then 2 else 1 end,
            case when pilot.sector = '' then 0 else 1 end)) as value
    from sector_of
    left join pilot
        on pilot.region in (sector_of.region, left(sector_of.region, 4) || '00', left(sector_of.region, 2) || '0000')
        and pilot.sector in (sector_of.sector, '')
    group by sector_of.person_id, sector_of.sector
), in_force as (
    select person_id, bool_and(coalesce(value, 0) > 0) as in_pilot from pilot_of group by person_id
), employed as (
    select person_id, bool_or(is_counted) as is_insured from marts.si_month
    where scheme = 'work_injury' and month >= date_trunc('month', $as_of::date) - interval 2 month group by person_id
), delivered as (
    select (select count(*) > 0 from landed.occ_injury_order_day where known_on <= $known_at) as days,
        (select count(*) > 0 from landed.si_param where known_on <= $known_at) as parameters
)
select enrolled.person_id,
    case when delivered.days then coalesce(cover_total.days, 0)::integer end as occ_injury_days_90,
    case when delivered.days and ratio.active_days > 0
        then round(ratio.covered_days::double / ratio.active_days::double, 6) end as occ_injury_cover_ratio_90,
    case when delivered.parameters
        then coalesce(in_force.in_pilot, false) or coalesce(employed.is_insured, false) end as occ_injury_in_force
from (select distinct person_id from stage.account) as enrolled
cross join delivered
left join cover_total using (person_id)
left join ratio using (person_id)
left join in_force using (person_id)
left join employed using (person_id)
