-- Buckets get keys of several parts; the scope is compiled anew before anyone is served by it.
alter table satchel.head
    alter column scope drop not null,
    alter column scope drop default,
    add column scope_version bigint not null default 0,  -- rises with every change of `scope` or `next_scope`
    add column next_scope text,                          -- compiled, not yet in force: its families are being filled
    add column moment timestamptz not null default now();  -- the time that conditions on times were last judged by
update satchel.head set scope = case when scope in ('', '{}') then '{}' end;

alter table satchel.bucket drop constraint bucket_family_key_key;
alter table satchel.bucket alter column key type text[] using array[key];
alter table satchel.bucket add column digest uuid;       -- of the key, which may be longer than an index takes
update satchel.bucket set digest = md5(key::text)::uuid;
alter table satchel.bucket alter column digest set not null, add unique (family, digest);

-- Op at which the row's content, not only its place, last changed: who has the row by another bucket needs no more.
alter table satchel.member add column content bigint, add column family integer;
update satchel.member m set content = m.op, family = b.family from satchel.bucket b where b.id = m.bucket;
alter table satchel.member alter column content set not null, alter column family set not null;

alter table satchel.family add column position bigint not null default 0;  -- last row that was filled in

-- Columns that no pull fills any more: their values are of the past, and are read again before anyone gets them.
create table satchel.unmaintained (
    entity text not null,
    attribute text not null,
    primary key (entity, attribute)
);
