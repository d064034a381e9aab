-- stage.earning_account_day: one row per (platform account, service date) with lines of the earning ledger
-- from: landed.platform_earning_line as known at $known_at
-- note: fen, signed, the worker's view: commission and penalties are negative, a plain sum nets them. Tolls and fuel
--       paid back, deposits, tax and collected cash are not income; rent and premiums are the cost of working.
with latest as (
    select platform_code, platform_worker_id_token as account_token, line_type, amount_fen, service_date
    from landed.platform_earning_line
    where known_on <= $known_at
    qualify row_number() over (
        partition by record_key order by source_updated_at desc, known_on desc, row_no desc) = 1 and op <> 'D'
)
select platform_code, account_token, service_date,
    coalesce(sum(amount_fen) filter (where line_type in (
        'base_pay', 'distance_pay', 'time_pay', 'peak_bonus', 'incentive', 'tip', 'referral', 'subsidy', 'waiting',
        'platform_fee', 'penalty', 'refund', 'clawback', 'chargeback', 'adjustment')), 0)::bigint as earned_fen,
    coalesce(sum(amount_fen) filter (where line_type in (
        'base_pay', 'distance_pay', 'time_pay', 'peak_bonus', 'incentive', 'tip', 'referral', 'subsidy', 'waiting'
        )), 0)::bigint as gross_fen,
    coalesce(sum(amount_fen) filter (where line_type = 'tip'), 0)::bigint as tip_fen,
    coalesce(-sum(amount_fen) filter (where line_type in ('refund', 'clawback', 'chargeback')), 0)::bigint
        as clawback_fen,
    coalesce(-sum(amount_fen) filter (where line_type in ('vehicle_rent', 'insurance_deduct')), 0)::bigint
        as deducted_cost_fen,
    coalesce(sum(amount_fen) filter (where line_type = 'cash_collected'), 0)::bigint as cash_collected_fen,
    count(*) as lines
from latest
where service_date < $as_of
group by platform_code, account_token, service_date
