#!/bin/sh
# Starts PostgreSQL in a container, as the public image does: an empty data directory is initialised first.
#
#   POSTGRES_USER (postgres), POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE, POSTGRES_DB (the user's name),
#   POSTGRES_INITDB_ARGS, POSTGRES_HOST_AUTH_METHOD (`trust` alone lets it start without a password)
#   /docker-entrypoint-initdb.d/*.sql, *.sql.gz, *.sh: run once, in order, against a server without TCP
#
# Run as root it gives the data directory to postgres and becomes that user; the capabilities for that are CHOWN,
# DAC_OVERRIDE, FOWNER, SETGID and SETUID. It also runs as any other user from the start.
set -eu
umask 077

case "${1:-}" in
-*) set -- postgres "$@" ;;
esac
[ "${1:-}" = postgres ] || exec "$@"

if [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA" /run/postgresql
  find "$PGDATA" /run/postgresql \! -user postgres -exec chown postgres:postgres {} +
  chmod 0700 "$PGDATA"
  chmod 3777 /run/postgresql
  parent="$(dirname "$PGDATA")" # of a fresh volume: root's, 0700 by the umask above
  while [ "$parent" != /var/lib ] && [ "$parent" != / ]; do
    chmod a+x "$parent"
    parent="$(dirname "$parent")"
  done
  exec setpriv --reuid=postgres --regid=postgres --init-groups -- "$0" "$@"
fi

mkdir -p "$PGDATA"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  user="${POSTGRES_USER:-postgres}"
  database="${POSTGRES_DB:-$user}"
  if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then
    POSTGRES_PASSWORD="$(cat "$POSTGRES_PASSWORD_FILE")"
  fi
  method="${POSTGRES_HOST_AUTH_METHOD:-}"
  if [ -z "${POSTGRES_PASSWORD:-}" ] && [ "$method" != trust ]; then
    echo "POSTGRES_PASSWORD is not set: a server without a password is started for nobody" >&2
    exit 1
  fi
  # Made aside and moved into place: a start that was interrupted begins again instead of serving half a database.
  fresh="$PGDATA/.initialising"
  rm -rf "$fresh"
  if [ -n "$(find "$PGDATA" -mindepth 1 -maxdepth 1 \! -name lost+found -print -quit)" ]; then
    echo "$PGDATA is not empty, and no data directory of PostgreSQL: nothing was changed" >&2
    exit 1
  fi
  mkdir "$fresh"
  secret="$(mktemp)"
  trap 'rm -f "$secret"' EXIT
  printf '%s\n' "${POSTGRES_PASSWORD:-none}" >"$secret"
  # shellcheck disable=SC2086  # several options in one variable, as the public image has it
  initdb --pgdata="$fresh" --username="$user" --pwfile="$secret" ${POSTGRES_INITDB_ARGS:-}
  rm -f "$secret"
  if [ -z "$method" ]; then
    # As initdb was told (--auth-host); its own default for TCP would be trust.
    method="$(awk '$1 == "host" && $4 == "127.0.0.1/32" { print $5; exit }' "$fresh/pg_hba.conf")"
    [ "$method" != trust ] || method=scram-sha-256
  fi
  printf '\nhost all all all %s\n' "$method" >>"$fresh/pg_hba.conf"
  printf "\nlisten_addresses = '*'\nunix_socket_directories = '/run/postgresql'\n" >>"$fresh/postgresql.conf"

  pg_ctl --pgdata="$fresh" --silent --wait --timeout=300 start -o "-c listen_addresses='' -c unix_socket_directories=/tmp"
  export PGHOST=/tmp PGPASSWORD="${POSTGRES_PASSWORD:-}"
  ask() { psql -v ON_ERROR_STOP=1 --no-psqlrc --no-password --username="$user" "$@"; }
  if [ "$database" != postgres ]; then
    echo 'CREATE DATABASE :"name";' | ask --dbname=postgres -v name="$database" >/dev/null
  fi
  for file in /docker-entrypoint-initdb.d/*; do
    case "$file" in
    *.sh)
      # shellcheck disable=SC1090  # the user's own script, as the public image has it
      . "$file"
      ;;
    *.sql.gz) gunzip -c "$file" | ask --dbname="$database" >/dev/null ;;
    *.sql) ask --dbname="$database" --file="$file" >/dev/null ;;
    *) continue ;;
    esac
    echo "docker-entrypoint: ran $file"
  done
  pg_ctl --pgdata="$fresh" --silent --wait --timeout=300 --mode=fast stop
  unset PGHOST PGPASSWORD
  find "$fresh" -mindepth 1 -maxdepth 1 \! -name PG_VERSION -exec mv -t "$PGDATA" {} +
  mv "$fresh/PG_VERSION" "$PGDATA/PG_VERSION" # last: it says that the data directory is complete
  rmdir "$fresh"
fi
exec "$@"
