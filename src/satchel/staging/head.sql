-- make --
insert into satchel.head (epoch, scope, timeline)
    values (%(epoch)s, '{}', left(pg_walfile_name(pg_current_wal_lsn()), 8)) on conflict do nothing

-- read --
-- What moved last is known only where it led to the head as it stands.
select epoch, op, binding, model_digest, verdict,
    case when moved_to = op then moved_from else -1 end, case when moved_to = op then moved_buckets end,
    case when verdicts_to = verdict then verdicts_from else -1 end,
    case when verdicts_to = verdict then verdict_devices end, floor,
    case when moved_to = op and made_to = op then made_buckets end,
    case when moved_to = op and made_to = op then touched_buckets end
from satchel.head

-- version --
select epoch, scope_version from satchel.head

-- scope --
select epoch, scope_version, scope, next_scope from satchel.head

-- set_next --
-- A compiled scope that is not yet in force; none where it is no other than the one in force.
update satchel.head set next_scope = %(next)s, scope_version = scope_version + 1 where next_scope is distinct from %(next)s

-- set_scope --
-- The compiled profiles and their client model, one state: a device never sees one without the other.
update satchel.head set scope = %(scope)s, next_scope = null, model = %(model)s, model_digest = %(digest)s,
    binding = binding + 1, scope_version = scope_version + 1

-- set_moment --
update satchel.head set moment = %(moment)s

-- moment --
select moment from satchel.head
