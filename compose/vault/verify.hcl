# The token of the verification itself (`pytest -m vault`): it may do everything below mounts whose names start with
# `smos-scratch-`, which it makes and removes, and read how the platform's own Vault is configured. It reads no secret.
# Whoever may make logins can make strong ones: give it a short life, and revoke it when the run has ended.
path "sys/mounts/smos-scratch-*" {
  capabilities = ["create", "read", "update", "delete"]
}

path "smos-scratch-*" {
  capabilities = ["create", "read", "update", "delete", "list", "patch"]
}

path "sys/auth/smos-scratch-*" {
  capabilities = ["create", "read", "update", "delete", "sudo"]
}

path "auth/smos-scratch-*" {
  capabilities = ["create", "read", "update", "delete", "list"]
}

# Tokens with a parent have at most its policies; orphans need `sudo`.
path "auth/token/create" {
  capabilities = ["update"]
}

path "auth/token/create-orphan" {
  capabilities = ["update", "sudo"]
}

path "auth/token/lookup" {
  capabilities = ["update"]
}

path "auth/token/revoke" {
  capabilities = ["update"]
}

# How the platform's Vault is configured: names and rules, no secret.
path "transit/keys/+" {
  capabilities = ["read"]
}

path "sys/mounts" {
  capabilities = ["read"]
}

path "sys/auth" {
  capabilities = ["read"]
}

path "auth/approle/role/+" {
  capabilities = ["read"]
}

path "smarteros/config" {
  capabilities = ["read"]
}

path "sys/audit" {
  capabilities = ["read", "sudo"]
}

path "sys/audit-hash/+" {
  capabilities = ["update"]
}

path "sys/metrics" {
  capabilities = ["read", "list"]
}

path "auth/token/accessors" {
  capabilities = ["list", "sudo"]
}

path "auth/token/lookup-accessor" {
  capabilities = ["update"]
}

path "sys/auth/token/tune" {
  capabilities = ["read", "sudo"]
}

path "sys/config/state/sanitized" {
  capabilities = ["read", "sudo"]
}

path "sys/policies/acl" {
  capabilities = ["list"]
}

path "sys/policies/acl/+" {
  capabilities = ["read"]
}

# Which logins there are besides the platform's roles: names.
path "auth/approle/role" {
  capabilities = ["list"]
}

path "auth/token/roles" {
  capabilities = ["list"]
}
