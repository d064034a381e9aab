-- stage.month: the last twelve mature calendar months before $as_of, nth_back 1 = the latest
-- from: reference.parameter (maturity_days.platform)
-- note: a month is mature once as_of has reached its last day + maturity_days (late data is in by then).
with maturity as (
    select coalesce(max(value), 0)::integer as days from reference.parameter
    where parameter = 'maturity_days' and key = 'platform' and valid_from <= $as_of
        and (valid_to is null or valid_to >= $as_of)
), candidate as (
    select (date_trunc('month', $as_of::date) - to_months(back))::date as month
    from (select unnest(generate_series(1, 24)) as back)
)
select month, row_number() over (order by month desc)::integer as nth_back
from candidate, maturity
where $as_of >= last_day(month) + maturity.days
qualify nth_back <= 12
order by month
