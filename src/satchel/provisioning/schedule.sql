-- set --
insert into satchel.recurring_work (organization, work_item, entity, interval_seconds)
values (%(organization)s, %(work_item)s, %(entity)s, %(interval_seconds)s)
on conflict (organization, work_item, entity) do update set interval_seconds = excluded.interval_seconds

-- keep_only --
-- Drop the recurring work that is no longer needed.
delete from satchel.recurring_work w
where organization = %(organization)s and not exists (
    select from unnest(%(items)s::text[], %(entities)s::text[]) as k (work_item, entity)
    where k.work_item = w.work_item and k.entity = w.entity)

-- clear --
delete from satchel.recurring_work where organization = %(organization)s

-- due --
-- Take what is due. The next time counts from now, not from the due time: after a pause there is no burst.
update satchel.recurring_work w set next_at = now() + make_interval(secs => w.interval_seconds)
from (
    select r.organization, r.work_item, r.entity, o.name
    from satchel.recurring_work r join satchel.organization o on o.id = r.organization and o.state = 'active'
    where r.next_at <= now() order by r.next_at limit %(limit)s for update of r skip locked
) d
where w.organization = d.organization and w.work_item = d.work_item and w.entity = d.entity
returning d.work_item, d.name, w.entity

-- postpone --
update satchel.recurring_work w set next_at = greatest(w.next_at, now() + make_interval(secs => %(seconds)s)),
    problem = %(problem)s, failing_since = coalesce(w.failing_since, now())
from satchel.organization o
where o.id = w.organization and o.name = %(name)s and w.work_item = %(work_item)s and w.entity = %(entity)s

-- hasten --
update satchel.recurring_work w set next_at = least(w.next_at, now() + make_interval(secs => %(seconds)s))
from satchel.organization o
where o.id = w.organization and o.name = %(name)s and w.work_item = %(work_item)s and w.entity = %(entity)s

-- succeeded --
update satchel.recurring_work w set problem = null, failing_since = null from satchel.organization o
where o.id = w.organization and o.name = %(name)s and w.work_item = %(work_item)s and w.entity = %(entity)s
and w.problem is not null

-- all_failing --
-- For how long all pulls have been failing; 0 where one succeeds, or there is none.
select coalesce(min(case when problem is null then 0 else extract(epoch from now() - failing_since) end), 0)
from satchel.recurring_work where work_item = 'pull'

-- of_organization --
select work_item, entity, interval_seconds, next_at, problem, failing_since from satchel.recurring_work
where organization = %(organization)s order by work_item, entity
