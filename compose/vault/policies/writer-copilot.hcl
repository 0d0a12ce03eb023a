# The writer writes code: repositories, the database's API, the shop's public schema. No customer data.
# KV v2: a secret `smarteros/mcp/x` is read at `smarteros/data/mcp/x` and listed at `smarteros/metadata/mcp/`.
# A path without `data/` grants nothing. What is not named here is refused.

path "smarteros/data/mcp/github" {
  capabilities = ["read"]
}

path "smarteros/data/mcp/supabase" {
  capabilities = ["read"]
}

path "smarteros/data/mcp/shopify" {
  capabilities = ["read"]
}

path "smarteros/data/mcp/smartermcp" {
  capabilities = ["read"]
}

# Its own state and its own log: read and write, never delete (what happened stays on record).
path "smarteros/data/agents/writer-copilot-*" {
  capabilities = ["create", "read", "update"]
}

path "smarteros/data/logs/writer-copilot/*" {
  capabilities = ["create", "read", "update"]
}

path "smarteros/metadata/logs/writer-copilot/*" {
  capabilities = ["list"]
}
