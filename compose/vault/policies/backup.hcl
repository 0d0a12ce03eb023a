# Takes raft snapshots and seals backups. It can encrypt and not decrypt: who steals the backup host's
# credential can't open older backups with it.
path "sys/storage/raft/snapshot" {
  capabilities = ["read"]
}

path "transit/encrypt/smarteros-secrets" {
  capabilities = ["update"]
}

path "transit/datakey/plaintext/smarteros-secrets" {
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
