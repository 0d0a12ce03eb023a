# Used in a recovery alone: opens what the backup role sealed, and compares the catalogue. Reads no secret.
path "transit/decrypt/smarteros-secrets" {
  capabilities = ["update"]
}

# The catalogue that a backup is compared with: names and rules, never a secret's value.
path "sys/policies/acl" {
  capabilities = ["list"]
}

path "sys/policies/acl/*" {
  capabilities = ["read"]
}

path "sys/auth" {
  capabilities = ["read"]
}

path "sys/mounts" {
  capabilities = ["read"]
}

# Reading the audit devices is a root-protected path, hence `sudo`.
path "sys/audit" {
  capabilities = ["read", "sudo"]
}

path "auth/+/role/" {
  capabilities = ["list"]
}

path "auth/+/role/+" {
  capabilities = ["read"]
}

path "auth/+/users/" {
  capabilities = ["list"]
}

path "smarteros/metadata/*" {
  capabilities = ["list"]
}

path "transit/keys/smarteros-secrets" {
  capabilities = ["read"]
}
