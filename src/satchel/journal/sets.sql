-- standing --
select id::text, version, state, verdict, device, md5(edits), is_forgotten from satchel.edit_set where id = any(%(ids)s::uuid[])
order by number for update

-- add --
insert into satchel.edit_set (id, version, device, user_id, made_at, edits, trace)
select n.id, n.version, %(device)s, %(user_id)s, n.made_at, n.edits, %(trace)s
from unnest(%(ids)s::uuid[], %(versions)s::integer[], %(made_at)s::text[], %(edits)s::text[])
    with ordinality as n (id, version, made_at, edits, place)
order by n.place on conflict (id) do nothing returning id::text, number

-- replace --
-- Taken up again: another version of what was not executed. It keeps its place.
update satchel.edit_set set version = %(version)s, edits = %(edits)s, made_at = %(made_at)s, state = 'waiting',
    next_at = now(), tries = 0, problem = null, attempt = null, verdict = null, outcome = null, verdict_number = null,
    known = null, settled_at = null, trace = %(trace)s, is_forgotten = false
where id = %(id)s returning id::text, number

-- add_rows --
insert into satchel.edit_row (number, entity, key, is_written)
select * from unnest(%(numbers)s::bigint[], %(entities)s::text[], %(keys)s::text[], %(written)s::boolean[])

-- forget_rows --
delete from satchel.edit_row where number = %(number)s

-- unsettled --
select count(*), coalesce(sum(octet_length(edits)), 0) from satchel.edit_set where device = %(device)s and state <> 'settled'

-- playable --
-- What may be played now, the devices in turns: who has least under way comes first. On the rows of a set, what its own
-- device did before must be settled; of other devices only what is under way just now is waited for: nobody waits for
-- another's undecided conflict.
with recursive device as (
    (select device from satchel.edit_set where state in ('waiting', 'sending') order by device limit 1)
    union all
    select (select s.device from satchel.edit_set s
        where s.state in ('waiting', 'sending') and s.device > d.device order by s.device limit 1)
    from device d where d.device is not null),
turn as (
    select d.device, count(s.number) as busy from device d
    left join satchel.edit_set s on s.device = d.device and s.number = any(%(under_way)s)
    where d.device is not null group by d.device)
select s.number, s.id::text, s.version, s.device, s.user_id, s.made_at, s.edits, s.state, s.tries, s.attempt, s.received_at,
    s.trace
from turn t cross join lateral (
    select *, row_number() over (order by w.number) as place from (
        select * from satchel.edit_set s
        where s.device = t.device and s.state in ('waiting', 'sending') and s.next_at <= now()
        and s.number <> all(%(under_way)s)
        and not exists (
            select from satchel.edit_row r
            join satchel.edit_row e on e.entity = r.entity and e.key = r.key and e.number <> s.number
            join satchel.edit_set o on o.number = e.number and o.state <> 'settled'
            where r.number = s.number and (r.is_written or e.is_written)
            and ((o.device = s.device and o.number < s.number) or o.number = any(%(under_way)s)))
        order by s.number limit 1 + %(limit)s / (select count(*) from turn)) w) s
order by t.busy + s.place, s.number limit %(limit)s

-- known --
select id::text, known from satchel.edit_set where id = any(%(ids)s::uuid[]) and device = %(device)s and known is not null

-- edits --
select edits from satchel.edit_set where id = %(id)s

-- edits_of --
select id::text, edits from satchel.edit_set where id = any(%(ids)s::uuid[])

-- sending --
-- From here on the source may have it. Only while nobody took the set up again.
update satchel.edit_set set state = 'sending', tries = tries + 1, attempt = %(attempt)s, problem = null
where number = %(number)s and version = %(version)s and state in ('waiting', 'sending')

-- is_left --
-- Something is still to be played, now or later.
select exists (select from satchel.edit_set where state in ('waiting', 'sending'))
    or exists (select from satchel.unsettled_row)

-- wait --
update satchel.edit_set set state = case when %(is_unknown)s then 'sending' else 'waiting' end,
    attempt = case when %(is_unknown)s then attempt end,
    next_at = now() + make_interval(secs => %(seconds)s), problem = %(problem)s
where number = %(number)s and version = %(version)s and state in ('waiting', 'sending')

-- settle --
update satchel.edit_set set state = %(state)s, verdict = %(verdict)s, outcome = %(outcome)s, known = %(known)s,
    verdict_number = %(verdict_number)s, attempt = null, problem = null,
    settled_at = case when %(state)s = 'settled' then now() end
where number = %(number)s and version = %(version)s and state <> 'settled'

-- outcomes --
select verdict_number, outcome from satchel.edit_set
where device = %(device)s and verdict_number > %(after)s and verdict_number <= %(until)s
order by verdict_number limit %(limit)s

-- next_verdict --
-- The devices that get verdicts in one transaction are noted together, for those who wait for them.
update satchel.head h set verdict = h.verdict + 1, verdicts_to = h.verdict + 1,
    verdicts_in = pg_current_xact_id()::text,
    verdicts_from = case when h.verdicts_in = pg_current_xact_id()::text then h.verdicts_from else h.verdict end,
    verdict_devices = case
        when h.verdicts_in is distinct from pg_current_xact_id()::text then array[e.device]
        when cardinality(h.verdict_devices) < 100 then h.verdict_devices || e.device
    end
from satchel.edit_set e where e.number = %(number)s
returning h.verdict

-- drop_settled --
-- What was withdrawn: sent again, it is withdrawn again.
delete from satchel.edit_set where state = 'settled' and not is_forgotten
and settled_at < now() - make_interval(days => %(days)s)

-- drop_forgotten --
delete from satchel.edit_set where is_forgotten and settled_at < now() - make_interval(days => %(days)s)

-- forget_settled --
-- What an administrator closed keeps the reason.
update satchel.edit_set set is_forgotten = true, edits = '[]', known = null, trace = null,
    outcome = case when verdict = 'rejected' then outcome
        else jsonb_build_object('set', id, 'version', version, 'verdict', verdict)::text end
where state = 'settled' and not is_forgotten and settled_at < now() - make_interval(days => %(days)s)
and verdict <> 'withdrawn'
