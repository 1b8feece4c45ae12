#!/bin/sh
# When the cluster is new: the nodes' own role, which owns its database and nothing else.
set -eu
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres \
  --set "password=$(cat "${PASSWORD_FILE:-/run/secrets/postgresql_password}")" <<'SQL'
CREATE ROLE halfgateway LOGIN PASSWORD :'password';
CREATE DATABASE halfgateway OWNER halfgateway;
REVOKE ALL ON DATABASE halfgateway FROM PUBLIC;
SQL
