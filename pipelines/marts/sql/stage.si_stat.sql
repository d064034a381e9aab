-- stage.si_stat: one row per person with contribution months
-- from: marts.si_month, reference.parameter (maturity_days.social_insurance)
-- note: over the twelve calendar months that end with the last mature one; si_current says whether that one, or the one
--       before it, is counted (offices book a month late).
with maturity as (
    select coalesce(max(value), 0)::integer as days from reference.parameter
    where parameter = 'maturity_days' and key = 'social_insurance' and valid_from <= $as_of
        and (valid_to is null or valid_to >= $as_of)
), last_month as (
    select max((date_trunc('month', $as_of::date) - to_months(back))::date) as month
    from (select unnest(generate_series(1, 4)) as back), maturity
    where $as_of >= last_day((date_trunc('month', $as_of::date) - to_months(back))::date) + maturity.days
), pension as (
    select distinct si.person_id, si.month
    from marts.si_month as si where si.scheme in ('emp_pension', 'res_pension') and si.is_counted
)
select person_id,
    count(*) filter (where pension.month <= last_month.month
        and pension.month > last_month.month - interval 12 month)::integer as si_pension_months_12,
    coalesce(bool_or(pension.month <= last_month.month
        and pension.month >= last_month.month - interval 1 month), false) as si_current
from (select distinct person_id from marts.si_month) as insured
cross join last_month
left join pension using (person_id)
group by person_id
