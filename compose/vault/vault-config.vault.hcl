# HashiCorp Vault 1.15's configuration. OpenBao reads vault-config.hcl.
# Here the audit device is no stanza: vault-init.sh enables it by the API.

ui            = false
log_format    = "json"
api_addr      = "https://127.0.0.1:8200"
cluster_addr  = "https://127.0.0.1:8201"

# The integrated storage maps its database into memory, so HashiCorp recommends not to lock it; the container may not
# swap instead (compose/vault.yml: memswap_limit), and needs no IPC_LOCK.
disable_mlock = true

default_lease_ttl = "1h"
max_lease_ttl     = "24h"

raw_storage_endpoint = false

storage "raft" {
  path                   = "/vault/data"
  node_id                = "smarter-vault"
  performance_multiplier = 1
}

listener "tcp" {
  address         = "0.0.0.0:8200"
  cluster_address = "127.0.0.1:8201"
  tls_cert_file   = "/vault/tls/server.pem"
  tls_key_file    = "/vault/tls/server.key"
  tls_min_version = "tls12"
}

telemetry {
  prometheus_retention_time = "24h"
  disable_hostname          = true
}
