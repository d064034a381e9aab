-- marts.person_link: one row per (source record, span of business dates): whom it belongs to
-- from: stage.link, stage.person_key
-- note: the only mart with identifier tokens. confidence is 1: an equal identifier links, nothing weaker does.
select keyed.person_id, link.source, link.issuer, link.account_token, link.id_token, link.name_token,
    link.mobile_token, link.link_method, 1.0::double as confidence, link.valid_from, link.valid_to
from stage.link as link join stage.person_key as keyed on keyed.id_token = link.id_token
order by keyed.person_id, link.source, link.link_method, link.issuer, link.account_token, link.valid_from,
    link.record_key
