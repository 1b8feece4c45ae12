#!/bin/sh
# Draws the servers' passwords into a new folder: make-secrets.sh config/secrets
# The folder is closed to others; the files in it can be read by the containers' users, who are given them one by one.
set -eu
umask 077
mkdir "$1"
cd "$1"
for name in postgresql_admin_password postgresql_password valkey_password; do
  head -c 24 /dev/urandom | base64 | tr '+/' '-_' > "$name"
done
hash=$(tr -d '\n' < valkey_password | sha256sum | cut -d ' ' -f 1)
printf 'user default off\nuser halfgateway on #%s ~* &* +@all -@dangerous +info\n' "$hash" > valkey_acl
chmod 0444 ./*
