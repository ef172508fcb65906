-- schemas --
select nspname from pg_catalog.pg_namespace
where case when %(schemas)s::text[] is null
    then nspname !~ '^pg_' and nspname not in ('information_schema', 'public', 'satchel_copy')
    else nspname = any(%(schemas)s) end
order by 1

-- unknown --
-- Kinds that nobody here knows to copy. A fence is no part of what is copied.
select case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'p' then 'partitioned table'
        when 'f' then 'foreign table' else 'relation' end, c.relname
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = any(%(schemas)s) and c.relkind not in ('r', 'S', 'i', 't', 'c')
union all
select 'composite type', c.relname
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = any(%(schemas)s) and c.relkind = 'c'
union all
select 'function', p.proname from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where n.nspname = any(%(schemas)s) and p.prokind not in ('f', 'p')
union all
select 'type', t.typname from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace
where n.nspname = any(%(schemas)s) and t.typtype in ('d', 'e', 'r', 'm')
union all
select 'inherited table', c.relname from pg_catalog.pg_inherits i
    join pg_catalog.pg_class c on c.oid = i.inhrelid join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = any(%(schemas)s)

-- tables --
select n.nspname, c.relname, c.relpersistence = 'u', c.oid::text || '/' || c.relfilenode::text,
    (select jsonb_agg(jsonb_build_object(
        'name', a.attname,
        'kind', pg_catalog.format_type(a.atttypid, a.atttypmod)
            || case when a.attcollation <> t.typcollation then ' collate ' || a.attcollation::regcollation::text else '' end,
        'is_required', a.attnotnull,
        'default', pg_catalog.pg_get_expr(d.adbin, d.adrelid),
        'identity', a.attidentity::text, 'generated', a.attgenerated::text) order by a.attnum)
    from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.oid = a.atttypid
    left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped),
    coalesce((select array_agg(a.attname::text order by k.place) from pg_catalog.pg_index i
        cross join unnest(i.indkey) with ordinality as k (number, place)
        join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = k.number
        where i.indrelid = c.oid and i.indisprimary), '{}')
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = any(%(schemas)s) and c.relkind = 'r' and c.relname <> %(fence)s
order by 1, 2

-- sequences --
select n.nspname, c.relname, pg_catalog.format_type(s.seqtypid, null), t.relname, a.attname
from pg_catalog.pg_sequence s join pg_catalog.pg_class c on c.oid = s.seqrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid
    and d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjsubid > 0 and d.deptype = 'i'
left join pg_catalog.pg_class t on t.oid = d.refobjid
left join pg_catalog.pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
where n.nspname = any(%(schemas)s) order by 1, 2

-- constraints --
select n.nspname, t.relname, c.conname, c.contype::text, pg_catalog.pg_get_constraintdef(c.oid)
from pg_catalog.pg_constraint c join pg_catalog.pg_class t on t.oid = c.conrelid
join pg_catalog.pg_namespace n on n.oid = t.relnamespace
where n.nspname = any(%(schemas)s) and c.contype in ('p', 'u', 'c', 'f', 'x') and t.relname <> %(fence)s
order by 1, 2, 3

-- functions --
select pg_catalog.pg_get_functiondef(p.oid) from pg_catalog.pg_proc p
    join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where n.nspname = any(%(schemas)s) and p.proname <> %(fence)s and p.prokind in ('f', 'p') order by 1

-- triggers --
select n.nspname, c.relname, t.tgname, pg_catalog.pg_get_triggerdef(t.oid) from pg_catalog.pg_trigger t
    join pg_catalog.pg_class c on c.oid = t.tgrelid join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = any(%(schemas)s) and not t.tgisinternal and t.tgname <> %(fence)s order by 1, 2, 3

-- indexes --
select pg_catalog.pg_get_indexdef(i.indexrelid)
from pg_catalog.pg_index i join pg_catalog.pg_class t on t.oid = i.indrelid
join pg_catalog.pg_namespace n on n.oid = t.relnamespace
where n.nspname = any(%(schemas)s) and t.relname <> %(fence)s and t.relkind = 'r'
    and not exists (select from pg_catalog.pg_constraint c where c.conindid = i.indexrelid and c.contype in ('p', 'u', 'x'))
order by 1
