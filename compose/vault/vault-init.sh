#!/bin/sh
# Sets this Vault up: initialises and unseals it, makes engines, policies and roles, revokes the root token.
#
#   docker exec smarter-vault /vault-init.sh
#
# May be run again: what is there stays as it is, an interrupted run is continued, a sealed Vault is unsealed. The key
# shares and the roles' credentials go into one file, once, 0600, in the form that `smos` calls an escrow. No secret is
# printed or put into an argument. It is what `smos vault init` does, without secrets for the providers.
#
# SMARTER_ESCROW: that file (default /vault/escrow/escrow.json). SMARTER_POLICIES: folder of the policies (default
# /smarter/policies). SMARTER_SHARES, SMARTER_THRESHOLD: 5 and 3. SMARTER_PATIENCE: seconds to wait for a server that
# does not answer yet (30).
set -eu
umask 077
# shellcheck disable=SC3045  # dash, busybox and bash know it
ulimit -c 0
unset VAULT_TOKEN BAO_TOKEN

escrow="${SMARTER_ESCROW:-/vault/escrow/escrow.json}"
policies="${SMARTER_POLICIES:-/smarter/policies}"
shares="${SMARTER_SHARES:-5}"
threshold="${SMARTER_THRESHOLD:-3}"
patience="${SMARTER_PATIENCE:-30}"
kv=smarteros
key=smarteros-secrets
rotate=720h

say() { printf 'vault-init: %s\n' "$*"; }
die() {
  printf 'vault-init: %s\n' "$*" >&2
  exit 1
}

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

# Vault's client ends with 0 when unsealed, 2 when sealed, 1 on an error.
state() {
  code=0
  vault status -format=json >"$work/status" 2>"$work/error" || code=$?
  return "$code"
}

field() { # field NAME FILE: the value of a line `"NAME": "value"` or `"NAME": value`
  sed -n 's/^ *"'"$1"'": *"\{0,1\}\([^",]*\)"\{0,1\},\{0,1\}$/\1/p' "$2" | head -n 1
}

list() { # list NAME FILE: the texts of the array NAME, one a line
  awk -v name="\"$1\":" '
    index($0, name) { inside = 1; next }
    inside && /\]/ { exit }
    inside { gsub(/[ ",]/, ""); if (length) print }
  ' "$2"
}

keep() { # keep: write what is known (files in $work) as the escrow, whole or not at all
  new="$escrow.new"
  {
    printf '{\n "schema": 1,\n "created": "%s",\n' "$(cat "$work/created")"
    if [ -s "$work/cluster" ]; then
      printf ' "cluster_id": "%s",\n' "$(cat "$work/cluster")"
    else
      printf ' "cluster_id": null,\n'
    fi
    printf ' "threshold": %s,\n "key_shares": [\n' "$(cat "$work/threshold")"
    awk 'NR > 1 { print line "," } { line = "  \"" $0 "\"" } END { if (NR) print line }' "$work/shares"
    printf ' ],\n "approles": {\n'
    awk 'NR > 1 { print line "," }
      { line = "  \"" $1 "\": {\"role_id\": \"" $2 "\", \"secret_id\": \"" $3 "\"}" }
      END { if (NR) print line }' "$work/approles"
    printf ' },\n "canary": null,\n'
    if [ -s "$work/root" ]; then
      printf ' "root_token": "%s"\n}\n' "$(cat "$work/root")"
    else
      printf ' "root_token": null\n}\n'
    fi
  } >"$new"
  sync
  mv "$new" "$escrow"
}

foreign() { # foreign: does the escrow hold what only smos writes and this script would lose?
  grep -q '"canary": {' "$escrow" || grep -q '"backup_identity": "' "$escrow"
}

recall() { # recall: read the escrow that this script (or smos) wrote into $work
  field created "$escrow" >"$work/created"
  field cluster_id "$escrow" | sed '/^null$/d' >"$work/cluster"
  field threshold "$escrow" >"$work/threshold"
  list key_shares "$escrow" >"$work/shares"
  field root_token "$escrow" | sed '/^null$/d' | tr -d '\n' >"$work/root"
  sed -n 's/^ *"\([^"]*\)": *{"role_id": "\([^"]*\)", "secret_id": "\([^"]*\)"},\{0,1\}$/\1 \2 \3/p' \
    "$escrow" >"$work/approles"
}

initialise() {
  : >"$escrow.new" 2>/dev/null || die "$(dirname "$escrow") can't be written; nothing was initialised"
  vault operator init -key-shares="$shares" -key-threshold="$threshold" -format=json >"$work/init" 2>"$work/error" ||
    die "it could not be initialised: $(head -n 3 "$work/error")"
  date -u +%Y-%m-%dT%H:%M:%SZ >"$work/created"
  : >"$work/cluster"
  : >"$work/approles"
  printf '%s' "$threshold" >"$work/threshold"
  list unseal_keys_b64 "$work/init" >"$work/shares"
  [ -s "$work/shares" ] || list recovery_keys_b64 "$work/init" >"$work/shares" # it unseals itself
  field root_token "$work/init" | tr -d '\n' >"$work/root"
  keep
  rm -f "$work/init"
  say "initialised; $(wc -l <"$work/shares" | tr -d ' ') key shares are in $escrow"
}

unseal() {
  say "unsealing"
  head -n "$(cat "$work/threshold")" "$work/shares" | while IFS= read -r share; do
    printf '%s' "$share" | vault write sys/unseal key=- >/dev/null 2>"$work/error" ||
      die "a key share was refused: $(head -n 3 "$work/error")"
  done
}

active() { # wait until it answers as the active node
  tries=0
  until vault read sys/health >/dev/null 2>&1 && state; do
    tries=$((tries + 1))
    [ "$tries" -le 60 ] || die "it was unsealed and does not become active; look at its log"
    sleep 0.5
  done
}

listed() { # listed secrets|auth: what is mounted, one line for each
  vault "$1" list -format=json >"$work/$1" 2>/dev/null || : >"$work/$1"
}

mounted() { grep -q "^ *\"$2/\":" "$work/$1"; }

engines() {
  listed secrets
  listed auth
  mounted secrets "$kv" || {
    vault secrets enable -path="$kv" -version=2 kv >/dev/null
    say "mounted $kv/ (KV v2)"
  }
  mounted secrets transit || {
    vault secrets enable transit >/dev/null
    say "mounted transit/"
  }
  vault read "transit/keys/$key" >/dev/null 2>&1 || {
    vault write -f "transit/keys/$key" auto_rotate_period="$rotate" >/dev/null
    say "made the key $key, which rotates every $rotate"
  }
  mounted auth approle || {
    vault auth enable approle >/dev/null
    say "enabled auth approle/"
  }
  case "$(vault version)" in
  *OpenBao*) ;; # its audit device is in the configuration
  *)
    vault audit list -format=json 2>/dev/null | grep -q '"file/"' || {
      vault audit enable file file_path=audit.log mode=0600 >/dev/null
      say "enabled the audit device file/"
    }
    ;;
  esac
}

rules() {
  for file in "$policies"/*.hcl; do
    [ -r "$file" ] || die "there is no policy in $policies"
    vault policy write "$(basename "$file" .hcl)" "$file" >/dev/null
  done
  say "wrote the policies"
  vault list -format=json auth/approle/role >"$work/roles" 2>/dev/null || : >"$work/roles"
  for role in director-gemini writer-copilot executor-codex ci admin backup recovery mcp-server; do
    policy="$role"
    [ "$role" = mcp-server ] && policy=mcp-transit-encryption
    grep -q "\"$role\"" "$work/roles" ||
      vault write "auth/approle/role/$role" token_policies="$policy" token_type=batch \
        token_ttl=20m token_max_ttl=20m secret_id_num_uses=0 >/dev/null
    grep -q "^$role " "$work/approles" && continue
    role_id="$(vault read -field=role_id "auth/approle/role/$role/role-id")"
    secret_id="$(vault write -f -field=secret_id "auth/approle/role/$role/secret-id")"
    printf '%s %s %s\n' "$role" "$role_id" "$secret_id" >>"$work/approles"
    keep
  done
  say "made the roles"
}

# A server that has just been started may need some seconds before it answers at all.
tries=0
while code=0 && { state || code=$?; } && [ "$code" -eq 1 ] && [ "$tries" -lt "$patience" ]; do
  tries=$((tries + 1))
  sleep 1
done
[ "$code" -ne 1 ] || die "no answer from ${VAULT_ADDR:-the default address}: $(head -n 3 "$work/error")"

if [ "$(field initialized "$work/status")" = true ]; then
  [ -s "$escrow" ] || die "it is initialised, and $escrow is not here: unseal it with the shares from their keepers"
  recall
  [ -s "$work/shares" ] || die "$escrow can't be read; unseal by hand"
else
  [ ! -s "$escrow" ] || die "it is not initialised, but $escrow holds the shares of one: move that file away first"
  initialise
  code=0
  state || code=$?
fi

if [ "$code" -eq 2 ]; then
  [ "$(field recovery_seal "$work/status")" = true ] || unseal
fi
active

if [ -s "$work/root" ]; then
  if foreign; then die "smos began this set-up: let it end it (smos vault init --escrow …)"; fi
  VAULT_TOKEN="$(cat "$work/root")"
  export VAULT_TOKEN
  field cluster_id "$work/status" >"$work/cluster"
  engines
  rules
  vault token revoke -self >/dev/null
  unset VAULT_TOKEN
  : >"$work/root"
  keep
  say "the root token is revoked"
else
  say "all was set up before; nothing was changed"
fi

cat <<END

  ********************************************************************************************
  *  The key shares lie in ONE file on THIS machine. Whoever has it opens everything.        *
  *  Now: copy it away, give the shares to different people, delete it here.                 *
  *    docker cp smarter-vault:$escrow . && chmod 600 escrow.json
  *    docker exec smarter-vault rm $escrow
  *  Never keep it with the backups.                                                         *
  ********************************************************************************************
END
