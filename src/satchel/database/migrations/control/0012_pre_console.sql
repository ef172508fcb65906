-- Sessions of administrators at the console; a session's token is kept only as its hash.
create table satchel.console_session (
    token_hash bytea primary key,
    name text not null,
    permissions text[] not null,
    began_at timestamptz not null default now(),
    seen_at timestamptz not null default now(),
    expires_at timestamptz not null,
    proved_until timestamptz not null,  -- then the issuer is asked anew whether the role still stands
    sealed_refresh bytea                -- the issuer's refresh token; none: a link or an issuer that gives none
);

-- One-time links to the console, made on the command line; one that was used is gone.
create table satchel.console_link (
    code_hash bytea primary key,
    expires_at timestamptz not null
);
