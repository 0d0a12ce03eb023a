# The MCP server encrypts and decrypts with the platform's key; it never sees or changes the key itself.
path "transit/encrypt/smarteros-secrets" {
  capabilities = ["update"]
}

path "transit/decrypt/smarteros-secrets" {
  capabilities = ["update"]
}

path "transit/datakey/plaintext/smarteros-secrets" {
  capabilities = ["update"]
}

path "transit/datakey/wrapped/smarteros-secrets" {
  capabilities = ["update"]
}

path "transit/rewrap/smarteros-secrets" {
  capabilities = ["update"]
}

path "transit/keys/smarteros-secrets" {
  capabilities = ["read"]
}
