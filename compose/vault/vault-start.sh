#!/bin/sh
# Starts the server with the configuration for what this image holds: OpenBao or HashiCorp Vault.
# SMARTER_CONFIG_DIR: where the configurations lie (default /smarter).
set -eu
umask 077
# shellcheck disable=SC3045  # dash, busybox and bash know it
ulimit -c 0

case "$(vault version 2>/dev/null)" in
*OpenBao*) config=vault-config.hcl ;;
*) config=vault-config.vault.hcl ;;
esac
exec vault server -config="${SMARTER_CONFIG_DIR:-/smarter}/$config"
