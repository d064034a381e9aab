-- marts.features: one row per (person, as_of) whom a platform, an insurance office or a bank knows
-- from: marts.person, marts.person_link and the stage.*_stat tables of this night
-- note: NULL = nobody could say; 0 = somebody could, and there was nothing. A person who only gave a consent has no
--       row. Ages compare (month, day), so that who was born on 29 February has a birthday on 1 March in other years.
--       Every <feature>_q says how far the figure beside it may be relied on; it changes no figure. Ratios of dues to
--       an income of nothing are 99, the cap, not infinite.
with known as (
    select person_id, bool_or(source = 'platform') as on_platform from marts.person_link
    where source <> 'consent' and valid_from <= $known_at and (valid_to is null or valid_to > $known_at)
    group by person_id
), platform_seen as (
    select account.person_id, count(*) > 0 as is_seen
    from stage.account as account
    join (select distinct platform_code from stage.order_day where service_date >= $as_of - 90) as heard
        using (platform_code)
    group by account.person_id
), limit_days as (
    select max(value) filter (where key = 'platform') as platform, max(value) filter (where key = 'bank') as bank,
        max(value) filter (where key = 'social_insurance') as si
    from reference.parameter
    where parameter = 'freshness_days' and valid_from <= $as_of and (valid_to is null or valid_to >= $as_of)
), flat as (
    select person.person_id, person.id_verdict, person.birth_date, person.gender, person.occupation_main,
        person.region, person.person_status, person.id_conflict, person.name_conflict, person.shared_account,
        person.shared_phone_n, person.shared_bank_n,
        coalesce(person.person_status = 'deceased', false) or coalesce(person.death_date < $as_of, false)
            as is_deceased,
        (year($as_of) - year(person.birth_date)
            - case when (month($as_of), day($as_of)) < (month(person.birth_date), day(person.birth_date))
                then 1 else 0 end)::integer as age_years,
        main.platform_main, main.account_active, credential.permit_valid,
        coalesce(main.account_active, false) or coalesce(credential.permit_valid, false) as is_target_active,
        coalesce(known.on_platform, false) as on_platform,
        activity.* exclude (person_id, active_days_30, active_days_90, recency_days),
        case when platform_seen.is_seen then activity.active_days_30 end as active_days_30,
        case when platform_seen.is_seen then activity.active_days_90 end as active_days_90,
        case when platform_seen.is_seen then activity.recency_days end as recency_days,
        income.* exclude (person_id),
        payout.payout_cycle, payout.payout_dom_mode, payout.payout_match_rate_90,
        bank.* exclude (person_id),
        cover.* exclude (person_id), vehicle.* exclude (person_id),
        credential.licence_days_left, credential.permit_days_left, credential.licence_valid,
        si.si_pension_months_12, si.si_current,
        fresh.* exclude (person_id),
        case when bank.loan_pay_m_fen = 0 then 0.0
            when income.disp_p25_12_fen <= 0 and bank.loan_pay_m_fen > 0 then 99.0
            when income.disp_p25_12_fen > 0 and bank.loan_pay_m_fen > 0
                then least(round(bank.loan_pay_m_fen::double / income.disp_p25_12_fen::double, 6), 99.0) end as dsr_p25,
        case when bank.loan_pay_m_fen = 0 then 0.0
            when income.disp_low3_12_fen <= 0 and bank.loan_pay_m_fen > 0 then 99.0
            when income.disp_low3_12_fen > 0 and bank.loan_pay_m_fen > 0
                then least(round(bank.loan_pay_m_fen::double / income.disp_low3_12_fen::double, 6), 99.0) end as dti_low3
    from known
    join marts.person as person using (person_id)
    left join stage.activity_share as main using (person_id)
    left join stage.activity_stat as activity using (person_id)
    left join stage.income_stat as income using (person_id)
    left join stage.payout_stat as payout using (person_id)
    left join stage.bank_stat as bank using (person_id)
    left join stage.cover_stat as cover using (person_id)
    left join stage.vehicle as vehicle using (person_id)
    left join stage.credential as credential using (person_id)
    left join stage.si_stat as si using (person_id)
    left join stage.freshness as fresh using (person_id)
    left join platform_seen using (person_id)
), judged as (
    select flat.*,
        case when flat.id_conflict or flat.name_conflict or coalesce(flat.shared_account, false) then 'CONFLICT'
            when coalesce(flat.freshness_days_platform, 9999) > limit_days.platform then 'STALE' end as platform_doubt,
        case when flat.id_conflict or flat.name_conflict then 'CONFLICT'
            when coalesce(flat.freshness_days_bank, 9999) > limit_days.bank then 'STALE' end as bank_doubt,
        case when flat.months_observed_12 < flat.months_12 then 'PARTIAL' end as month_doubt
    from flat cross join limit_days
)
select person_id, $as_of::date as as_of, $known_at::date as known_at, $feature_version::varchar as feature_version,
    id_verdict, birth_date, gender, age_years, occupation_main, region, platform_main, person_status, is_deceased,
    id_conflict, name_conflict, shared_account, shared_phone_n, shared_bank_n,
    account_active, permit_valid, is_target_active, first_order_on, tenure_cont_months,
    active_days_30, active_days_90, active_weeks_26, last_active_on, recency_days, orders_30, orders_90, orders_day,
    n_platforms_90, top_share_90, clawback_rate_90, cash_share_90,
    months_12, months_observed_12, months_active_12, inflow_months_12, inc_cv_6, inc_mean_3_fen, inc_median_6_fen,
    inc_p25_12_fen, inc_low3_12_fen, disp_low3_12_fen, disp_p25_12_fen,
    loan_pay_m_fen, loan_outstanding_fen, days_past_due_max, n_lenders, dsr_p25, dti_low3,
    payout_cycle, payout_dom_mode, payout_match_rate_90, bank_inflow_90_fen, bank_outflow_90_fen,
    occ_injury_days_90, occ_injury_cover_ratio_90, occ_injury_in_force,
    vehicle_main, vehicle_on_record, vehicle_needs_licence, licence_valid, licence_days_left, permit_days_left,
    si_pension_months_12, si_current,
    freshness_days_platform, freshness_days_bank, freshness_days_si,
    case when tenure_cont_months is null then 'INSUFFICIENT' else coalesce(platform_doubt, 'OK') end
        as tenure_cont_months_q,
    case when active_days_90 is null then 'INSUFFICIENT' else coalesce(platform_doubt, 'OK') end as active_days_90_q,
    case when recency_days is null then 'INSUFFICIENT' else coalesce(platform_doubt, 'OK') end as recency_days_q,
    case when inflow_months_12 is null then 'INSUFFICIENT' else coalesce(platform_doubt, month_doubt, 'OK') end
        as inflow_months_12_q,
    case when inc_cv_6 is null then 'INSUFFICIENT' else coalesce(platform_doubt, 'OK') end as inc_cv_6_q,
    case when disp_low3_12_fen is null then 'INSUFFICIENT' else coalesce(platform_doubt, month_doubt, 'OK') end
        as disp_low3_12_fen_q,
    case when dsr_p25 is null then 'INSUFFICIENT' else coalesce(platform_doubt, bank_doubt, month_doubt, 'OK') end
        as dsr_p25_q,
    case when vehicle_on_record is null then 'INSUFFICIENT' else coalesce(platform_doubt, 'OK') end
        as vehicle_on_record_q,
    case when licence_days_left is null then 'INSUFFICIENT' else coalesce(platform_doubt, 'OK') end
        as licence_days_left_q,
    case when occ_injury_in_force is null then 'INSUFFICIENT' else 'OK' end as occ_injury_in_force_q
from judged
order by person_id
