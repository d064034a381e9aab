-- stage.bank_stat: one row per person: money through the bank, and dues of loans
-- from: stage.bank_account, stage.bank_txn, landed.bank_obligation as known at $known_at, stage.person_key
-- note: fen. Flows are NULL without an account on record, 0 with one that did not move. Dues are 0 for somebody whom a
--       bank knows and no bank lends to; NULL where no bank knows the person, or none has ever reported loans: that
--       nobody has heard of him proves no freedom from debt.
with obligation as (
    select * from landed.bank_obligation
    where known_on <= $known_at
    qualify row_number() over (
        partition by record_key order by source_updated_at desc, known_on desc, row_no desc) = 1 and op <> 'D'
), due as (
    select keyed.person_id, sum(obligation.monthly_due_fen)::bigint as loan_pay_m_fen,
        sum(obligation.outstanding_fen)::bigint as outstanding_fen,
        max(obligation.days_past_due)::integer as days_past_due_max,
        count(distinct obligation.bank_code)::integer as n_lenders
    from obligation join stage.person_key as keyed on keyed.id_token = obligation.borrower_id_no_token
    where obligation.status in ('active', 'overdue')
    group by keyed.person_id
), flow as (
    select person_id,
        coalesce(sum(amount_fen) filter (where direction = 'credit'), 0)::bigint as bank_inflow_90_fen,
        coalesce(sum(amount_fen) filter (where direction = 'debit'), 0)::bigint as bank_outflow_90_fen
    from stage.bank_txn
    where value_date >= $as_of - 90 and not is_self
    group by person_id
), holder as (
    select distinct person_id from stage.bank_account
), known as (
    select person_id from holder
    union
    select keyed.person_id from obligation
    join stage.person_key as keyed on keyed.id_token = obligation.borrower_id_no_token
), delivered as (
    select (select count(*) > 0 from landed.bank_txn where known_on <= $known_at) as flows,
        (select count(*) > 0 from landed.bank_obligation where known_on <= $known_at) as dues
)
select person.person_id,
    case when delivered.flows and holder.person_id is not null then coalesce(flow.bank_inflow_90_fen, 0) end
        as bank_inflow_90_fen,
    case when delivered.flows and holder.person_id is not null then coalesce(flow.bank_outflow_90_fen, 0) end
        as bank_outflow_90_fen,
    case when delivered.dues and known.person_id is not null then coalesce(due.loan_pay_m_fen, 0) end
        as loan_pay_m_fen,
    case when delivered.dues and known.person_id is not null then coalesce(due.outstanding_fen, 0) end
        as loan_outstanding_fen,
    case when delivered.dues and known.person_id is not null then coalesce(due.days_past_due_max, 0) end
        as days_past_due_max,
    case when delivered.dues and known.person_id is not null then coalesce(due.n_lenders, 0) end
        as n_lenders
from (select distinct person_id from stage.person_key) as person
cross join delivered
left join holder using (person_id)
left join known using (person_id)
left join flow using (person_id)
left join due using (person_id)
