# Continuous integration: what a pipeline needs to build, deploy and report.
# KV v2: a secret `smarteros/mcp/x` is read at `smarteros/data/mcp/x` and listed at `smarteros/metadata/mcp/`.
# A path without `data/` grants nothing. What is not named here is refused.

path "smarteros/data/mcp/github" {
  capabilities = ["read"]
}

path "smarteros/data/mcp/supabase" {
  capabilities = ["read"]
}

path "smarteros/data/mcp/slack" {
  capabilities = ["read"]
}

path "smarteros/data/ssh/deploy" {
  capabilities = ["read"]
}

path "smarteros/data/app/*" {
  capabilities = ["read"]
}

path "smarteros/metadata/app/*" {
  capabilities = ["list"]
}

# Scratch space: read and write.
path "smarteros/data/ci/*" {
  capabilities = ["create", "read", "update"]
}

path "smarteros/metadata/ci/*" {
  capabilities = ["list"]
}

# Its own log: read and write, never delete.
path "smarteros/data/logs/ci/*" {
  capabilities = ["create", "read", "update"]
}

path "smarteros/metadata/logs/ci/*" {
  capabilities = ["list"]
}
