# The director plans: it reads the providers of business data, language models and messages, no infrastructure.
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

path "smarteros/data/mcp/shopify/orders" {
  capabilities = ["read"]
}

path "smarteros/data/mcp/shopify/customers" {
  capabilities = ["read"]
}

path "smarteros/data/mcp/metabase" {
  capabilities = ["read"]
}

path "smarteros/data/mcp/odoo" {
  capabilities = ["read"]
}

path "smarteros/data/mcp/stripe" {
  capabilities = ["read"]
}

path "smarteros/data/mcp/openai" {
  capabilities = ["read"]
}

path "smarteros/data/mcp/anthropic" {
  capabilities = ["read"]
}

path "smarteros/data/mcp/google" {
  capabilities = ["read"]
}

path "smarteros/data/mcp/twilio" {
  capabilities = ["read"]
}

path "smarteros/data/mcp/whatsapp" {
  capabilities = ["read"]
}

path "smarteros/data/mcp/mailgun" {
  capabilities = ["read"]
}

path "smarteros/data/mcp/linear" {
  capabilities = ["read"]
}

path "smarteros/data/mcp/notion" {
  capabilities = ["read"]
}

path "smarteros/data/mcp/n8n" {
  capabilities = ["read"]
}

path "smarteros/data/mcp/slack" {
  capabilities = ["read"]
}

path "smarteros/data/mcp/smartermcp" {
  capabilities = ["read"]
}

path "smarteros/data/mcp/callcenter-conversation" {
  capabilities = ["read"]
}

path "smarteros/data/mcp/callcenter-speech" {
  capabilities = ["read"]
}

# The one SSH key that can only look.
path "smarteros/data/ssh/read-only" {
  capabilities = ["read"]
}

# Its own state and its own log: read and write, never delete (what happened stays on record).
path "smarteros/data/agents/director-gemini-*" {
  capabilities = ["create", "read", "update"]
}

path "smarteros/data/logs/director-gemini/*" {
  capabilities = ["create", "read", "update"]
}

path "smarteros/metadata/logs/director-gemini/*" {
  capabilities = ["list"]
}
