#!/bin/sh
# What Postgres' image does once, when it makes the database: the login that coolops itself uses.
set -eu
psql --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
\set password `cat /run/secrets/coolops_password`
CREATE ROLE coolops_login LOGIN PASSWORD :'password';
SQL
