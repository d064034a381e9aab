-- stage.settlement: one row per settlement of a platform to a linked person
-- from: landed.platform_settlement as known at $known_at, stage.account
-- note: settled_fen is what was due after deductions; paid_on is NULL until paid. Amounts as the platform states them.
select account.person_id, latest.platform_code, latest.record_key, latest.cycle, latest.status, latest.pay_channel,
    latest.net_fen as settled_fen, timezone('Asia/Shanghai', latest.paid_at)::date as paid_on,
    latest.payee_account_no_token as payee_token
from (
    select * from landed.platform_settlement
    where known_on <= $known_at
    qualify row_number() over (
        partition by record_key order by source_updated_at desc, known_on desc, row_no desc) = 1 and op <> 'D'
) as latest
join stage.account as account
    on account.platform_code = latest.platform_code and account.account_token = latest.platform_worker_id_token
