-- marts.bank_month: one row per (person, calendar month of the value date) with booked transactions
-- from: stage.bank_txn
-- note: fen. Transfers between a person's own accounts are in none of the sums; payout_fen is the part of inflow_fen
--       that a platform paid.
select person_id, date_trunc('month', value_date)::date as month,
    coalesce(sum(amount_fen) filter (where direction = 'credit'), 0)::bigint as inflow_fen,
    coalesce(sum(amount_fen) filter (where direction = 'debit'), 0)::bigint as outflow_fen,
    coalesce(sum(amount_fen) filter (where direction = 'credit' and payer_platforms is not null), 0)::bigint
        as payout_fen,
    count(*) as transactions
from stage.bank_txn
where not is_self and amount_fen > 0
group by all
order by person_id, month
