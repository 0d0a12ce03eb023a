# OpenBao's configuration (the default). HashiCorp Vault reads vault-config.vault.hcl: it knows no `audit` stanza.
# vault-start.sh chooses between the two by what the image's binary says it is.

ui            = false
log_format    = "json"
api_addr      = "https://127.0.0.1:8200"
cluster_addr  = "https://127.0.0.1:8201"

# Nothing lives longer without being renewed. Roles have shorter times of their own.
default_lease_ttl = "1h"
max_lease_ttl     = "24h"

# Anybody's storage could be read through it; it is off by default, and said here.
raw_storage_endpoint = false

storage "raft" {
  path                   = "/vault/data"
  node_id                = "smarter-vault"
  performance_multiplier = "1"
}

listener "tcp" {
  address         = "0.0.0.0:8200"
  cluster_address = "127.0.0.1:8201"
  tls_cert_file   = "/vault/tls/server.pem"
  tls_key_file    = "/vault/tls/server.key"
  tls_min_version = "tls12"
}

# Relative to the working directory (/vault/audit in the container): a Vault that is restored elsewhere must have the
# same options as this one, or OpenBao refuses to become active. Without a device that can be written nothing is
# served: watch the disk, and `vault_audit_log_request_failure`.
audit "file" "file" {
  options {
    file_path = "audit.log"
    mode      = "0600"
  }
}

telemetry {
  prometheus_retention_time = "24h"
  disable_hostname          = true
}

# Unsealing by itself: add one `seal` stanza before the first initialisation (docs/vault.md shows four).
