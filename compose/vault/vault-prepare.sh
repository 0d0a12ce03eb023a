#!/bin/sh
# Makes the volumes the server's own (0700), and a certificate where there is none. Runs as root, without a network,
# before the server; does nothing when all is there.
#
# The certificate is the one that the server's development mode makes for itself: for localhost, 127.0.0.1 and this
# host's name, for a year, of an authority whose key is thrown away. Put your own in its place: server.pem (with the
# chain), server.key, ca.pem in the volume smarter-vault-tls (docs/vault.md).
#
# SMARTER_ROOT: where the volumes lie (default /vault). SMARTER_OWNER: whose they become (default 100:1000).
set -eu
umask 077

root="${SMARTER_ROOT:-/vault}"
owner="${SMARTER_OWNER:-100:1000}"
tls="$root/tls"

for place in data audit tls escrow; do
  mkdir -p "$root/$place"
  chown "$owner" "$root/$place"
  chmod 0700 "$root/$place"
done

if [ ! -s "$tls/server.pem" ] || [ ! -s "$tls/server.key" ]; then
  work="$(mktemp -d)"
  trap 'rm -rf "$work"' EXIT
  HOME="$work" vault server -dev -dev-tls -dev-tls-cert-dir="$work" -dev-no-store-token \
    -dev-listen-address=127.0.0.1:0 >/dev/null 2>&1 &
  server=$!
  tries=0
  until [ -s "$work/vault-key.pem" ] && [ -s "$work/vault-cert.pem" ] && [ -s "$work/vault-ca.pem" ]; do
    tries=$((tries + 1))
    if [ "$tries" -gt 60 ] || ! kill -0 "$server" 2>/dev/null; then
      kill -9 "$server" 2>/dev/null || true
      echo "vault-prepare: no certificate could be made; put server.pem, server.key and ca.pem into $tls" >&2
      exit 1
    fi
    sleep 0.5
  done
  kill -9 "$server" 2>/dev/null || true # ended in order, it would delete what it made
  wait "$server" 2>/dev/null || true
  for pair in vault-ca.pem:ca.pem vault-cert.pem:server.pem vault-key.pem:server.key; do
    cp "$work/${pair%%:*}" "$tls/.new-${pair##*:}"
    chmod 0600 "$tls/.new-${pair##*:}"
    chown "$owner" "$tls/.new-${pair##*:}"
  done
  for name in ca.pem server.pem server.key; do # the key last: it decides whether this is done again
    mv "$tls/.new-$name" "$tls/$name"
  done
  echo "vault-prepare: made a certificate for localhost, for a year; replace it in production"
fi
