-- stage.payout_match: one row per paid settlement that one bank credit confirms
-- from: stage.settlement, stage.bank_txn
-- note: equal to the fen, at most 3 days apart, from the platform's paying account; each credit is used once: the
--       nearest pair of both sides, the earlier on a tie. Fees and many-to-one payouts stay unmatched.
with pair as (
    select settled.person_id, settled.record_key as settlement_key, credit.record_key as txn_key,
        row_number() over (partition by settled.record_key
            order by abs(credit.posted_on - settled.paid_on), credit.posted_on, credit.record_key) as nth_credit,
        row_number() over (partition by credit.record_key
            order by abs(credit.posted_on - settled.paid_on), settled.paid_on, settled.record_key) as nth_settlement
    from stage.settlement as settled
    join stage.bank_txn as credit
        on credit.person_id = settled.person_id and credit.amount_fen = settled.settled_fen
        and credit.direction = 'credit'
        and credit.posted_on between settled.paid_on - 3 and settled.paid_on + 3
        and list_contains(credit.payer_platforms, settled.platform_code)
    where settled.status = 'paid'
)
select person_id, settlement_key, txn_key from pair where nth_credit = 1 and nth_settlement = 1
