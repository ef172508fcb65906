-- beat --
insert into satchel.process (instance, service, host, skew_seconds, facts)
values (%(instance)s, %(service)s, %(host)s, extract(epoch from %(now)s::timestamptz - clock_timestamp()), %(facts)s)
on conflict (instance) do update set seen_at = now(), skew_seconds = excluded.skew_seconds, facts = excluded.facts

-- forget --
-- What ended without a word is forgotten once another of its kind was started in its place, or after a day.
delete from satchel.process o using satchel.process n
where n.instance = %(instance)s and o.instance <> n.instance and o.seen_at < now() - make_interval(secs => %(dead_seconds)s)
and ((o.service = n.service and o.host = n.host and n.started_at > o.seen_at) or o.seen_at < now() - interval '1 day')

-- leave --
delete from satchel.process where instance = %(instance)s

-- all --
select instance, service, host, started_at, extract(epoch from now() - seen_at), skew_seconds, facts
from satchel.process order by service, host, instance
