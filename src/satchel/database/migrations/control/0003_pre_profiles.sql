-- Offline profiles with their history: a draft is a version that was never published.
create table satchel.profile (
    organization bigint not null references satchel.organization on delete cascade,
    name text not null,
    version integer not null check (version > 0),
    text text not null,
    comment text not null default '',
    created_at timestamptz not null default now(),
    is_published boolean not null default false,
    primary key (organization, name, version)
);
create unique index one_published_version on satchel.profile (organization, name) where is_published;

-- What was in force when; `version` null: the profile was withdrawn.
create table satchel.publication (
    id bigint generated always as identity primary key,
    organization bigint not null references satchel.organization on delete cascade,
    name text not null,
    version integer,
    comment text not null default '',
    published_at timestamptz not null default now()
);
create index on satchel.publication (organization, name);

insert into satchel.profile (organization, name, version, text, is_published)
select id, coalesce(substring(profile from '^(?:\s|#[^\n]*\n)*name\s*=\s*["'']([^"''\\\n]+)["'']'), 'profile'), 1, profile, true
from satchel.organization where profile <> '';
insert into satchel.publication (organization, name, version) select organization, name, version from satchel.profile;
alter table satchel.organization drop column profile;

-- The scope is compiled anew by this version before anyone is served by it.
update satchel.recurring_work set next_at = now() where work_item = 'refresh_model';
