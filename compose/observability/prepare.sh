#!/bin/sh
# Runs before the stack, as root, without a network: gives the collector's queue to the collector, and writes what the
# servers read from files (targets, token, authority, webhook) into volumes that they mount read-only. Their own root
# file systems stay read-only that way. Run again whenever a setting changes: docker compose up does it.
set -eu
umask 022

keep() { # keep FILE VALUE: whole or not at all
  mkdir -p "$(dirname "$1")"
  printf '%s\n' "$2" >"$1.new"
  mv "$1.new" "$1"
}

chown -R 10001:10001 /queue
keep /metrics/vault-targets.json "$VAULT_TARGETS"
keep /metrics/drill-targets.json "$DRILL_TARGETS"
printf '%s' "$VAULT_TOKEN" >/metrics/vault_metrics_token
keep /metrics/vault-ca/vault.pem "$VAULT_CA_PEM"
printf '%s' "$ALERT_WEBHOOK_URL" >/alerts/alert_webhook_url
