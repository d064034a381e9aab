-- stage.income_stat: one row per person: statistics over the last mature months (DOMAIN B2)
-- from: stage.person_month, reference.parameter (inflow_month_min_fen)
-- note: over N = over the months that exist and are known among the last N; holes are left out. Means and quantiles
--       are rounded half up to the fen. CV is worked out from whole numbers, so that threads cannot change it:
--       sqrt(n * sum(x*x) - sum(x)^2) / sum(x), population deviation, rounded to six places.
with bar as (
    select max(value) as min_fen from reference.parameter
    where parameter = 'inflow_month_min_fen' and valid_from <= $as_of and (valid_to is null or valid_to >= $as_of)
), gathered as (
    select person_id,
        list_sort(list(earned_fen) filter (where nth_back <= 3 and earned_fen is not null)) as earned_3,
        list_sort(list(earned_fen) filter (where nth_back <= 6 and earned_fen is not null)) as earned_6,
        list_sort(list(earned_fen) filter (where earned_fen is not null)) as earned_12,
        list_sort(list(disposable_fen) filter (where disposable_fen is not null)) as disposable_12,
        count(*) as months_12,
        count(earned_fen) as months_observed_12,
        count(*) filter (where active_days > 0) as months_active_12,
        count(*) filter (where earned_fen >= bar.min_fen) as inflow_months_12
    from stage.person_month, bar
    group by person_id
), summed as (
    select *, len(earned_3) as n_3, len(earned_6) as n_6, len(earned_12) as n_12, len(disposable_12) as n_disposable,
        list_sum(earned_6)::hugeint as sum_6,
        list_sum(list_transform(earned_6, lambda x: x::hugeint * x)) as squares_6
    from gathered
)
select person_id, months_12, coalesce(months_observed_12, 0) as months_observed_12,
    coalesce(months_active_12, 0) as months_active_12, inflow_months_12,
    case when n_3 >= 2 then floor(list_sum(earned_3) / n_3 + 0.5)::bigint end as inc_mean_3_fen,
    case when n_6 >= 3 then floor(list_aggregate(earned_6, 'quantile_cont', 0.5) + 0.5)::bigint end
        as inc_median_6_fen,
    case when n_6 >= 6 and sum_6 > 0 then round(sqrt((n_6 * squares_6 - sum_6 * sum_6)::double) / sum_6::double, 6) end
        as inc_cv_6,
    case when n_12 >= 3 then floor(list_sum(earned_12[1:3]) / 3 + 0.5)::bigint end as inc_low3_12_fen,
    case when n_12 >= 3 then floor(list_aggregate(earned_12, 'quantile_cont', 0.25) + 0.5)::bigint end
        as inc_p25_12_fen,
    case when n_disposable >= 3 then floor(list_sum(disposable_12[1:3]) / 3 + 0.5)::bigint end as disp_low3_12_fen,
    case when n_disposable >= 3 then floor(list_aggregate(disposable_12, 'quantile_cont', 0.25) + 0.5)::bigint end
        as disp_p25_12_fen
from summed
