-- listed --
select s.number, s.id::text, s.version, s.device, s.user_id, s.made_at, s.received_at, s.state, s.verdict, s.tries,
    case when s.state in ('waiting', 'sending') then s.next_at end, s.problem, s.settled_at, s.edits, s.outcome
from satchel.edit_set s
where s.number > %(after)s and s.state = any(%(states)s) and not s.is_forgotten
and (not %(stuck)s or s.state = 'held' or s.problem is not null)
and (%(numbers)s::bigint[] is null or s.number = any(%(numbers)s))
and (%(device)s::text is null or s.device = %(device)s)
and (%(user)s::text is null or s.user_id = %(user)s)
and (%(entity)s::text is null or s.edits::jsonb @> jsonb_build_array(jsonb_build_object('entity', %(entity)s::text)))
order by s.number limit %(limit)s

-- counts --
select state, coalesce(verdict, ''), count(*), min(received_at) from satchel.edit_set where not is_forgotten group by 1, 2 order by 1, 2

-- again --
-- The same version once more. What may have been executed keeps its attempt: that is cleared up first.
update satchel.edit_set set state = case state when 'held' then 'waiting' else state end, next_at = now(), tries = 0,
    problem = null, verdict = null, outcome = null, verdict_number = null
where number = any(%(numbers)s) and state <> 'settled' returning number

-- lock --
select number, version, state, device, id::text, edits, known from satchel.edit_set
where number = any(%(numbers)s) order by number for update

-- backlog --
select count(*) filter (where state <> 'held'), count(*) filter (where state <> 'held' and problem is not null),
    count(*) filter (where state = 'held'), min(received_at) filter (where state <> 'held' and next_at <= now()),
    min(received_at) filter (where state = 'held'), min(problem) filter (where state <> 'held')
from satchel.edit_set where state in ('waiting', 'sending', 'held')
