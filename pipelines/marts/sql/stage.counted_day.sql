-- stage.counted_day: one row per calendar day of four years up to $as_of; counted_no stands still on days that stop
-- the count
-- from: reference.parameter (day_count_stop)
-- note: over the Spring Festival nobody is expected to work, so it makes nobody less active or less recent.
with day as (
    select unnest(generate_series($as_of::timestamp - interval 4 year, $as_of::timestamp, interval 1 day))::date as day
)
select day.day, sum(case when stop.parameter is null then 1 else 0 end)
    over (order by day.day rows unbounded preceding)::integer as counted_no
from day
left join reference.parameter as stop
    on stop.parameter = 'day_count_stop' and day.day between stop.valid_from and stop.valid_to
