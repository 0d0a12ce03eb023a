"""F180 to F194: what leaves a door open, in configuration, set-up and process. The stack's own file is changed."""

import hvac

from smos.faults.registry import caught, fault
from smos.faults.vault.servers import (
    Options,
    before_revocation,
    fronted,
    kernel_says,
    other_options,
    stack_text,
)
from smos.faults.vault.wire import Meddler, Message, Reply
from smos.faults.vault.work import VaultWork
from smos.paths import compose_dir
from smos.provision.certificates import make_certificate
from smos.vault.bootstrap import ROLES
from smos.vault.verify.stand import Stand

CHECK, SERVER = "VAULT-12", "stack"
TLS_MIN = 'tls_min_version = "tls12"'


@fault("F180", "The root token is left", "hardening", caught(CHECK, "hardening-root-token", "1 of"))
def root_left(work: VaultWork) -> None:
    """Leave another one behind."""
    work.look_at("tokens")
    before_revocation(work, lambda root: root.auth.token.create_orphan(policies=["root"]))


@fault(
    "F180c", "The set-up's own root token is left", "hardening", caught(CHECK, "hardening-root-token", "1 of")
)
def own_root_left(work: VaultWork) -> None:
    """Forget to revoke it: this server is set up by itself, by the platform's own set-up, and never gets a copy."""
    work.look_at("tokens")
    forget = Meddler(
        instead=lambda message: Reply(204, {}) if message.path == "auth/token/revoke-self" else None
    )
    fronted(work, forget, only=SERVER)


@fault("F181", "The audit stanza is gone", "hardening", caught(CHECK, "hardening-audit-off"))
def no_audit(work: VaultWork) -> None:
    """Let the server know no audit device."""
    work.look_at("tokens")
    old = 'audit "file" "file" {\n  options {\n    file_path = "audit.log"\n    mode      = "0600"\n  }\n}\n'
    stack_text(work, old, "")


@fault(
    "F182",
    "Leases end when the server likes",
    "hardening",
    caught(CHECK, "hardening-lease-unbound", "2764800"),
)
def unbound(work: VaultWork) -> None:
    """Take the limit away."""
    work.look_at("tokens")
    stack_text(work, 'max_lease_ttl     = "24h"', "")


@fault(
    "F183",
    "A role's tokens live for 20 hours",
    "hardening",
    caught(CHECK, "hardening-role-unbound", "role ci"),
)
def long_role(work: VaultWork) -> None:
    """Make one role with a longer time."""
    work.look_at("tokens")
    settings = {"token_ttl": "20h", "token_max_ttl": "20h"}
    before_revocation(work, lambda root: root.adapter.post("/v1/auth/approle/role/ci", json=settings))


@fault("F184", "Everybody may decrypt", "hardening", caught(CHECK, "hardening-default-policy"))
def generous_default(work: VaultWork) -> None:
    """Write one of the platform's policies under the name `default` as well."""
    work.look_at("tokens")

    def write(root: hvac.Client) -> None:
        text = root.sys.read_acl_policy(next(iter(ROLES)))["data"]["policy"]
        root.sys.create_or_update_acl_policy("default", text, pretty_print=False)

    before_revocation(work, write)


@fault("F185", "The raw storage is an endpoint", "hardening", caught(CHECK, "hardening-raw-storage"))
def raw_storage(work: VaultWork) -> None:
    """Open it."""
    work.look_at("tokens")
    stack_text(work, "raw_storage_endpoint = false", "raw_storage_endpoint = true")


@fault(
    "F186a",
    "A root token can be begun by anybody",
    "hardening",
    caught(CHECK, "hardening-door-open", "root token"),
)
def generate_root(work: VaultWork) -> None:
    """Switch the old endpoint on."""
    work.look_at("api")
    stack_text(work, TLS_MIN, f"{TLS_MIN}\n  disable_unauthed_generate_root_endpoints = false")


@fault("F186b", "A rekey can be begun by anybody", "hardening", caught(CHECK, "hardening-door-open", "rekey"))
def rekey(work: VaultWork) -> None:
    """Switch the old endpoint on."""
    work.look_at("api")
    stack_text(work, TLS_MIN, f"{TLS_MIN}\n  disable_unauthed_rekey_endpoints = false")


@fault(
    "F186c", "Profiles can be read by anybody", "hardening", caught(CHECK, "hardening-door-open", "profiles")
)
def profiles(work: VaultWork) -> None:
    """Open them on the listener."""
    work.look_at("api")
    stack_text(work, TLS_MIN, f"{TLS_MIN}\n  profiling {{ unauthenticated_pprof_access = true }}")


@fault(
    "F186d", "The web interface is served", "hardening", caught(CHECK, "hardening-door-open", "web interface")
)
def web_interface(work: VaultWork) -> None:
    """Switch it on."""
    work.look_at("api")
    stack_text(work, "ui            = false", "ui            = true")


@fault("F187a", "TLS 1.0 is taken", "hardening", caught(CHECK, "hardening-tls-old"))
def old_tls(work: VaultWork) -> None:
    """Lower the bound."""
    work.look_at("tls")
    stack_text(work, TLS_MIN, 'tls_min_version = "tls10"')


@fault(
    "F187b", "The listener has no TLS", "hardening", caught(CHECK, "hardening-tls", "WRONG_VERSION_NUMBER")
)
def no_tls(work: VaultWork) -> None:
    """Switch it off."""
    work.look_at("tls")
    stack_text(work, TLS_MIN, f"{TLS_MIN}\n  tls_disable = true")


@fault("F187c", "The certificate has expired", "hardening", caught(CHECK, "hardening-tls", "expired"))
def expired(work: VaultWork) -> None:
    """Give the server one that ended an hour ago."""
    work.look_at("tls")
    _certificate(work, lifetime_s=-3600)


@fault(
    "F187d", "The certificate is for another name", "hardening", caught(CHECK, "hardening-tls", "mismatch")
)
def other_name(work: VaultWork) -> None:
    """Give the server one of another address."""
    work.look_at("tls")
    _certificate(work, address="192.0.2.7")


def _certificate(work: VaultWork, *, address: str = "127.0.0.1", lifetime_s: float = 3600) -> None:
    owner = work.lab.owner()
    place = owner.directory("bad-tls", read_only=True)
    bad = make_certificate(owner, place, address=address, lifetime_s=lifetime_s)

    def options(name: str, found: Options) -> None:
        if name == SERVER:
            found["tls"] = bad

    other_options(work, options)


@fault(
    "F188a", "The server runs as root", "hardening", caught(CHECK, "hardening-superuser", "users (0, 0, 0)")
)
def superuser(work: VaultWork) -> None:
    """Let the kernel say so."""
    work.look_at("process")
    kernel_says(work, uid="0 0 0 0")


@fault(
    "F188b",
    "The server may lock memory, and everything else",
    "hardening",
    caught(CHECK, "hardening-superuser"),
)
def capable(work: VaultWork) -> None:
    """Let the kernel say so."""
    work.look_at("process")
    kernel_says(work, capabilities="000001ffffffffff")


@fault(
    "F189", "A crash leaves a core dump", "hardening", caught(CHECK, "hardening-core-dumps", "core limit -1")
)
def core_dumps(work: VaultWork) -> None:
    """Let the kernel say so."""
    work.look_at("process")
    kernel_says(work, core="unlimited")


@fault("F190", "Keys lie in swap", "hardening", caught(CHECK, "hardening-swapped", "4194304"))
def swapped(work: VaultWork) -> None:
    """Let the kernel say so."""
    work.look_at("process")
    kernel_says(work, swapped="4096")


@fault("F191", "Everybody may read the escrow", "hardening", caught(CHECK, "hardening-files-open", "escrow"))
def open_escrow(work: VaultWork) -> None:
    """Open it to others when all is set up."""
    work.look_at("files")
    work.lab = work.lab.but(spoil=_open_escrow)


def _open_escrow(stand: Stand) -> None:
    stand.escrow.chmod(0o644)


@fault(
    "F192", "Everybody may enter the storage", "hardening", caught(CHECK, "hardening-files-open", "storage")
)
def open_storage(work: VaultWork) -> None:
    """Open it to others when all is set up."""
    work.look_at("files")
    work.lab = work.lab.but(spoil=_open_storage)


def _open_storage(stand: Stand) -> None:
    stand.server.data_dir.chmod(0o755)


@fault(
    "F180b", "A token may do all that root may", "hardening", caught(CHECK, "hardening-root-token", "1 of")
)
def as_good_as_root(work: VaultWork) -> None:
    """Leave a token with a policy of another name that grants everything."""
    work.look_at("tokens")

    def leave(root: hvac.Client) -> None:
        everything = 'path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }'
        root.sys.create_or_update_acl_policy("operators", everything, pretty_print=False)
        root.auth.token.create_orphan(policies=["operators"])

    before_revocation(work, leave)


@fault("F181b", "The audit log is thrown away", "hardening", caught(CHECK, "hardening-audit-off"))
def audit_discarded(work: VaultWork) -> None:
    """Let the device write to nowhere."""
    work.look_at("tokens")
    stack_text(work, 'file_path = "audit.log"', 'file_path = "discard"')


@fault(
    "F183b",
    "A role's tokens are renewed for ever",
    "hardening",
    caught(CHECK, "hardening-role-unbound", "ci"),
)
def periodic_role(work: VaultWork) -> None:
    """Give a role a period."""
    work.look_at("tokens")
    path = "/v1/auth/approle/role/ci"
    settings = {"token_type": "service", "token_period": "20m"}
    before_revocation(work, lambda root: root.adapter.post(path, json=settings))


@fault(
    "F186e", "Metrics can be read by anybody", "hardening", caught(CHECK, "hardening-door-open", "metrics")
)
def metrics(work: VaultWork) -> None:
    """Open them on the listener."""
    work.look_at("api")
    stack_text(work, TLS_MIN, f"{TLS_MIN}\n  telemetry {{ unauthenticated_metrics_access = true }}")


@fault(
    "F186f",
    "A second listener gives out metrics",
    "hardening",
    caught(CHECK, "hardening-door-open", "unauthenticated_metrics_access"),
)
def second_listener(work: VaultWork) -> None:
    """Add a listener beside the one that is knocked at."""
    work.look_at("tokens")
    _listener(work, "127.0.0.1:0", "  telemetry { unauthenticated_metrics_access = true }\n")


@fault(
    "F187e", "A second listener has no TLS", "hardening", caught(CHECK, "hardening-no-tls", "192.0.2.7:8202")
)
def plain_listener(work: VaultWork) -> None:
    """Let the server say that it has one beyond loopback (the harness opens none)."""
    work.look_at("tokens")

    def change(message: Message, reply: Reply) -> None:
        if message.path == "sys/config/state/sanitized" and "data" in reply.body:
            more = {"type": "tcp", "config": {"address": "192.0.2.7:8202", "tls_disable": True}}
            reply.body["data"]["listeners"].append(more)

    fronted(work, Meddler(reply=change), only=SERVER)


def _listener(work: VaultWork, address: str, more: str) -> None:
    text = f'listener "tcp" {{\n  address = "{address}"\n  tls_disable = true\n{more}}}\n\nlistener "tcp" {{'
    stack_text(work, 'listener "tcp" {', text)


@fault("F187f", "RC4 is taken", "hardening", caught(CHECK, "hardening-tls-weak"))
def weak_suite(work: VaultWork) -> None:
    """Allow a broken suite beside a sound one."""
    work.look_at("tls")
    suites = "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA,TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
    stack_text(work, TLS_MIN, f'{TLS_MIN}\n  tls_cipher_suites = "{suites}"')


@fault("F193", "Every web page may speak to Vault", "hardening", caught(CHECK, "hardening-cors"))
def cors(work: VaultWork) -> None:
    """Allow every origin."""
    work.look_at("api")
    settings = {"enabled": True, "allowed_origins": ["*"]}
    deed = lambda root: root.adapter.post("/v1/sys/config/cors", json=settings)  # noqa: E731  (one line)
    before_revocation(work, deed)


def _compose(work: VaultWork, old: str, new: str) -> None:
    text = (compose_dir() / "vault.yml").read_text(encoding="utf-8")
    if old not in text:
        raise ValueError(f"compose/vault.yml holds no {old!r}")
    path = work.lab.owner().directory("compose", read_only=True) / "vault.yml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    work.lab = work.lab.but(compose=path)


@fault(
    "F188c",
    "The container runs as root",
    "hardening",
    caught(CHECK, "hardening-superuser", "vault.yml", "0:0"),
)
def container_root(work: VaultWork) -> None:
    """Change the user in the compose file."""
    work.look_at("deployment")
    _compose(work, 'user: "100:1000"', 'user: "0:0"')


@fault(
    "F189b", "The container dumps its core", "hardening", caught(CHECK, "hardening-core-dumps", "vault.yml")
)
def container_core(work: VaultWork) -> None:
    """Take the limit out of the compose file."""
    work.look_at("deployment")
    _compose(work, "    core: 0", "    nofile: 4096")


@fault("F190b", "The container may swap", "hardening", caught(CHECK, "hardening-swapped", "vault.yml"))
def container_swap(work: VaultWork) -> None:
    """Let it have swap beyond its memory."""
    work.look_at("deployment")
    _compose(work, "memswap_limit: 1G", "memswap_limit: 2G")


@fault("F194", "The container is published to everybody", "hardening", caught(CHECK, "hardening-published"))
def container_port(work: VaultWork) -> None:
    """Publish the port on every address."""
    work.look_at("deployment")
    _compose(work, '"127.0.0.1:${VAULT_PORT:-8200}:8200"', '"${VAULT_PORT:-8200}:8200"')
