-- stage.bank_txn: one row per booked transaction of a linked person, net of its reversals
-- from: landed.bank_txn as known at $known_at, stage.bank_account
-- note: reversals are not rows of their own; they lessen what they reverse (never below zero). Pending ones are left
--       out. is_self: the other side is an account of the same person. payer is the platform that pays out of the
--       account with this credit code.
with latest as (
    select * from landed.bank_txn
    where known_on <= $known_at and value_date < $as_of
    qualify row_number() over (
        partition by record_key order by source_updated_at desc, known_on desc, row_no desc) = 1
        and op <> 'D' and not is_pending
), reversal as (
    select bank_code, reverses_txn_id_token as txn_id_token, sum(amount_fen)::bigint as reversed_fen
    from latest where reverses_txn_id_token is not null group by bank_code, reverses_txn_id_token
), payer as (
    select payer_uscc, list_sort(list(distinct platform_code)) as platforms from reference.platform
    where payer_uscc is not null group by payer_uscc
)
select account.person_id, latest.bank_code, latest.record_key, latest.value_date,
    timezone('Asia/Shanghai', latest.posted_at)::date as posted_on, latest.direction, latest.channel,
    greatest(latest.amount_fen - coalesce(reversal.reversed_fen, 0), 0) as amount_fen,
    own.account_token is not null as is_self, payer.platforms as payer_platforms
from latest
join stage.bank_account as account
    on account.bank_code = latest.bank_code and account.account_token = latest.account_no_token
left join reversal on reversal.bank_code = latest.bank_code and reversal.txn_id_token = latest.txn_id_token
left join (select distinct person_id, account_token from stage.bank_account) as own
    on own.person_id = account.person_id and own.account_token = latest.counterparty_account_no_token
left join payer on payer.payer_uscc = latest.counterparty_uscc
where latest.reverses_txn_id_token is null
