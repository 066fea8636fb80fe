-- Roles of least privilege, by psql as a superuser; may be run again:
--   muster_owner  owns the tables: `muster migrate`
--   muster_app    reads and writes rows: every other process of Muster
-- Their passwords are in two files, in the folder ROLES (/run/roles).
\set ON_ERROR_STOP on
\set owner_password `cat "${ROLES:-/run/roles}/owner"`
\set app_password `cat "${ROLES:-/run/roles}/app"`
SELECT current_database() AS database \gset

SELECT format('CREATE ROLE %I', name) FROM unnest(ARRAY['muster_owner', 'muster_app']) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
ALTER ROLE muster_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOINHERIT
    CONNECTION LIMIT 5 PASSWORD :'owner_password';
ALTER ROLE muster_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOINHERIT
    PASSWORD :'app_password';

REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"database" TO muster_owner, muster_app;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO muster_owner;
GRANT USAGE ON SCHEMA public TO muster_app;

-- What an earlier version made as a superuser.
SELECT format('ALTER TABLE public.%I OWNER TO muster_owner', tablename)
FROM pg_tables WHERE schemaname = 'public' AND tableowner <> 'muster_owner' \gexec
SELECT format('ALTER ROUTINE %s OWNER TO muster_owner', oid::regprocedure)
FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proowner <> 'muster_owner'::regrole \gexec
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO muster_app;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO muster_app;

-- What later versions will make.
ALTER DEFAULT PRIVILEGES FOR ROLE muster_owner IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO muster_app;
ALTER DEFAULT PRIVILEGES FOR ROLE muster_owner IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO muster_app;
