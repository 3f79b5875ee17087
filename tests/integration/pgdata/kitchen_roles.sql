-- What kitchen_sink.sql needs of the cluster: roles, and the tablespace in the directory :space.
CREATE ROLE ks_owner;
CREATE ROLE ks_owner_super SUPERUSER;
CREATE ROLE ks_reader LOGIN PASSWORD 'it''s a secret' CONNECTION LIMIT 5 VALID UNTIL '2030-01-01 00:00+00';
CREATE ROLE ks_writer CREATEDB CREATEROLE NOINHERIT;
CREATE ROLE "ks Quoted""Role" NOLOGIN;
CREATE ROLE ks_member LOGIN IN ROLE ks_reader ADMIN "ks Quoted""Role";
GRANT ks_owner TO ks_writer WITH ADMIN OPTION;
COMMENT ON ROLE ks_owner IS E'owns\nthings';
ALTER ROLE ks_reader SET search_path = 'app', '$user';
ALTER ROLE ks_reader SET application_name = 'it''s';
ALTER ROLE ALL SET log_min_duration_statement = '1h';
CREATE TABLESPACE ks_space OWNER ks_owner LOCATION :'space' WITH (random_page_cost = 1.5);
COMMENT ON TABLESPACE ks_space IS 'elsewhere';
GRANT CREATE ON TABLESPACE ks_space TO ks_writer;
