# The executor deploys: repositories, infrastructure, workflows, every SSH key. No business data.
# KV v2: a secret `smarteros/mcp/x` is read at `smarteros/data/mcp/x` and listed at `smarteros/metadata/mcp/`.
# A path without `data/` grants nothing. What is not named here is refused.

path "smarteros/data/mcp/github" {
  capabilities = ["read"]
}

path "smarteros/data/mcp/n8n" {
  capabilities = ["read"]
}

path "smarteros/data/mcp/slack" {
  capabilities = ["read"]
}

path "smarteros/data/mcp/docker" {
  capabilities = ["read"]
}

path "smarteros/data/mcp/hostinger" {
  capabilities = ["read"]
}

path "smarteros/data/mcp/cloudflare" {
  capabilities = ["read"]
}

path "smarteros/data/mcp/vercel" {
  capabilities = ["read"]
}

path "smarteros/data/mcp/aws" {
  capabilities = ["read"]
}

path "smarteros/data/mcp/smartermcp" {
  capabilities = ["read"]
}

path "smarteros/data/mcp/callcenter-conversation" {
  capabilities = ["read"]
}

path "smarteros/data/ssh/*" {
  capabilities = ["read"]
}

path "smarteros/metadata/ssh/*" {
  capabilities = ["list"]
}

# Its own state and its own log: read and write, never delete (what happened stays on record).
path "smarteros/data/agents/executor-codex-*" {
  capabilities = ["create", "read", "update"]
}

path "smarteros/data/logs/executor-codex/*" {
  capabilities = ["create", "read", "update"]
}

path "smarteros/metadata/logs/executor-codex/*" {
  capabilities = ["list"]
}
