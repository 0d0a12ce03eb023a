# The administrator looks after the tenants and may look at (never change) policies and mounts.
# It reads no provider's secret: whoever needs one has a role for it.
path "smarteros/data/tenants/*" {
  capabilities = ["create", "read", "update", "delete"]
}

path "smarteros/metadata/tenants/*" {
  capabilities = ["list"]
}

path "sys/policies/*" {
  capabilities = ["read", "list"]
}

path "sys/mounts" {
  capabilities = ["read"]
}
