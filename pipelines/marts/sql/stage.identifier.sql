-- stage.identifier: one row per identifier token ever linked
-- from: stage.link
-- note: `inherits_from` is the token that the same account carried before: a corrected number is still the same
--       person, if name and phone (platform) or name (bank account) did not change with it.
with named as (
    select *, lag(id_token) over account as id_before, lag(name_token) over account as name_before,
        lag(mobile_token) over account as mobile_before
    from stage.link
    where link_method in ('worker_id', 'holder_id')
    window account as (partition by source, link_method, record_key order by valid_from)
), corrected as (
    select id_token, min(id_before) as inherits_from
    from named
    where id_before <> id_token and name_before = name_token
        and (source = 'bank' or mobile_before = mobile_token)
    group by id_token
    having count(distinct id_before) = 1
)
select link.id_token, min(link.valid_from) as first_known_on, min(corrected.inherits_from) as inherits_from
from stage.link as link left join corrected on corrected.id_token = link.id_token
group by link.id_token
order by first_known_on, link.id_token
