-- stage.bank_account: one row per bank account with an owner at $known_at
-- from: marts.person_link
select distinct person_id, issuer as bank_code, account_token
from marts.person_link
where link_method = 'holder_id' and valid_from <= $known_at and (valid_to is null or valid_to > $known_at)
