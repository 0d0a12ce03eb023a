"""A manifest or a list of entries that says another thing than the backup holds, signed with the real key.

Whatever is promised must be looked at: a changed promise that nobody notices is a promise that nobody checks. The
oracle is a list, kept here by hand, of the few statements that promise nothing about what is restored.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import zstandard

from smos.backup.manifest import MANIFEST_NAME
from smos.faults.dr.campaign.model import Bench, Dice, Effect, Level, Step, Truth, seal
from smos.faults.dr.campaign.volumes import NAMES as VOLUMES
from smos.faults.dr.exercise import Scope
from smos.faults.dr.workspace import Workspace

PROMISE_NOTHING: tuple[tuple[str, str], ...] = (
    (r"set/(?:tool|source|finished)", "who made the backup, and until when: no check asks"),
    (r"set/system_identifier", "only that the sandbox is another server is held against it"),
    (r"set/schema|content/problems|database/content|set/encryption", "left out, the default says the same"),
    (
        r"content/catalogue/objects/.*/grantor|roles/memberships/\d+/grantor",
        "who granted it: information only",
    ),
    (r"content/sequences/.*/[012]", "sequences are bound to no snapshot: further ahead is no loss"),
    (r"set/started", "the name of the set says the same, to the minute"),
    (r"entry/.*/id", "made from the path: only shown in messages"),
    (r"database/(?:lsn|dump_version|snapshot_at)", "when and by what the dump was made"),
    (r"content/lsn", "when the dump was made"),
    (r"content/tables/.*/2", "how much room a table took on the source's disk"),
    (r"content/catalogue/(?:extensions|locales)_offered/.*", "what the source's server could have offered"),
    (r"content/sequences/.*/(?:[3-9]|\d\d+)", "what was used of a sequence is read from what came back"),
    (r".*/spelling", "the same moment, or the same locale, in other letters"),
    (
        r"content/row_security/\d+/total_rows",
        "how many rows there are is compared with the table's own count",
    ),
    (r"content/row_security_probed", "that nobody asked is said as information"),
    (r"entry/.*/mtime_ns", "no service depends on times"),
    (r"roles/roles/postgres/.*", "the sandbox has an administrator of its own"),
    (r"roles/predefined_members", "only whether it is said at all counts, and earlier manifests don't"),
)
"""Patterns of paths, and why another value there is harmless."""
SPELLED_FREELY = ("/heartbeat_at", "/collate", "/ctype")
"""Statements of which capitals say nothing."""
MAY_BE_ABSENT: tuple[tuple[str, str], ...] = (
    (r"roles/memberships/\d+/(?:set|inherit)", "servers before version 16 know no such option"),
    (r"roles/roles/[^/]+/comment|roles/settings_of_all.*", "earlier manifests don't say"),
    (r"roles/roles/[^/]+/has_password", "who takes the backup may not be let see who has one"),
)
"""The same, where only leaving the value out is harmless."""


def leaves(node: Any, path: str = "") -> Iterator[tuple[Any, Any, str]]:
    """Yield (container, key, path) of every value that holds no others, in a stable order."""
    items: Any = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in list(items):
        inner = f"{path}/{key}" if path else str(key)
        if isinstance(value, dict | list) and value:
            yield from leaves(value, inner)
        else:
            yield node, key, inner


def another(value: Any, dice: Dice) -> Any:
    """Return another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + dice.pick((1, -1, 1000))
    if isinstance(value, str):
        choices = (f"{value}x", value.swapcase(), value[:-1], re.sub(r"\d", "7", value), "")
        return next(item for item in (dice.pick(choices), f"{value}x") if item != value)
    return dice.pick(("x", 1, None)) if value is not None else dice.pick(("x", 1))


def of_another_kind(value: Any, dice: Dice) -> Any:
    """Return a value of another type; none that Python takes for the same one."""
    choices: tuple[Any, ...] = (None, [], {}, 0.5, "x", str(value), 10**40, True, [value], {"x": value})
    return dice.pick([item for item in choices if type(item) is not type(value) and item != value])


def _leaf(
    node: Any, dice: Dice, where: str, change: Callable[[Any, Dice], Any] = another
) -> tuple[str, Effect]:
    container, key, path = dice.pick(list(leaves(node, where)))
    before, after = container[key], None
    if dice.below(4) == 0:
        del container[key]
        # What is empty may be left out: it says the same.
        harmless = not before or why_harmless(path, MAY_BE_ABSENT) or why_harmless(path)
        return f"{path} removed", Effect.EITHER if harmless else Effect.CHANGED
    container[key] = after = change(before, dice)
    if not before and not after:
        return f"{path} empty in another way", Effect.EITHER
    if after is None and why_harmless(path, MAY_BE_ABSENT):
        return f"{path} null", Effect.EITHER
    if "/acl/" in path and str(before).partition("/")[0] == str(after).partition("/")[0]:
        path += "/grantor"
    elif path.endswith(SPELLED_FREELY) and str(before).upper() == str(after).upper():
        path += "/spelling"
    return f"{path} changed", Effect.EITHER if why_harmless(path) else Effect.CHANGED


def why_harmless(path: str, reasons: tuple[tuple[str, str], ...] = PROMISE_NOTHING) -> str:
    """Say why a statement promises nothing; empty: it promises something."""
    return next((why for pattern, why in reasons if re.fullmatch(pattern, path)), "")


def _artifacts(manifest: Any, dice: Dice) -> tuple[str, Effect]:
    artifacts = manifest["artifacts"]
    at, other = dice.two(range(len(artifacts)))
    what = dice.pick(("drop", "hash", "size", "exchange hashes", "path", "exchange", "repeat", "add"))
    one, two = artifacts[at], artifacts[other]
    if what == "drop":
        del artifacts[at]
    elif what == "hash":
        one["sha256"] = one["sha256"][1:] + one["sha256"][0]
    elif what == "size":
        one["bytes"] += dice.pick((1, -1))
    elif what == "exchange hashes":
        one["sha256"], two["sha256"] = two["sha256"], one["sha256"]
    elif what == "path":
        one["path"] += "x"
    elif what == "exchange":
        artifacts[at], artifacts[other] = two, one
    elif what == "repeat":
        artifacts.append(one)
    else:
        artifacts.append(one | {"path": "volumes/lost.tar.zst"})
    effects = {"exchange": Effect.SAME, "repeat": Effect.EITHER}
    return f"{one['path']}: {what}", effects.get(what, Effect.CHANGED)


def _layout(work: Workspace, dice: Dice, key: Path) -> Truth:
    data = json.loads(work.path(MANIFEST_NAME).read_bytes())
    indent, keys = dice.pick((None, 2, 4)), bool(dice.below(2))
    _write(
        work, json.dumps(data, indent=indent, sort_keys=keys, ensure_ascii=bool(dice.below(2))).encode(), key
    )
    return Truth(
        effect=Effect.SAME, done="the manifest written in another layout", checks=("DR-01", "DR-02"),
        why="JSON says the same in every layout",
    )  # fmt: skip


def _write(work: Workspace, data: bytes, key: Path) -> None:
    work.path(MANIFEST_NAME).write_bytes(data)
    work.sign(work.newest, key)


def _manifest(
    work: Workspace, kind: str, dice: Dice, key: Path, change: Callable[[Any, Dice], Any] = another
) -> Truth:
    manifest = json.loads(work.path(MANIFEST_NAME).read_bytes())
    scope = Scope()
    checks: tuple[str, ...] = ("DR-02",)
    if kind == "artifacts":
        done, effect = _artifacts(manifest, dice)
    elif kind in {"content", "database"}:
        at = dice.below(len(manifest["databases"]))
        entry = manifest["databases"][at]
        scope, checks = Scope(databases=(entry["name"],)), ("DR-02", "DR-03")
        if kind == "content":
            done, effect = _leaf(entry["content"], dice, "content", change)
        else:
            content = entry.pop("content")
            done, effect = _leaf(entry, dice, "database", change)
            entry["content"] = content
    elif kind == "roles":
        scope, checks = Scope(databases=("n8n",)), ("DR-02", "DR-03")
        done, effect = _leaf(manifest["roles"], dice, "roles", change)
    elif kind == "volume":
        entry = dice.pick(manifest["volumes"])
        scope, checks = Scope(volumes=(entry["name"],)), ("DR-02", "DR-04")
        done, effect = _leaf(entry, dice, "volume", change)
    else:
        rest = {key: value for key, value in manifest.items() if not isinstance(value, dict | list)}
        done, effect = _leaf(rest, dice, "set", change)
        held = {key: value for key, value in manifest.items() if isinstance(value, dict | list)}
        manifest = rest | held
        checks = ("DR-01", "DR-02")
    _write(work, json.dumps(manifest).encode(), key)
    why = why_harmless(done.split(" ")[0]) or "the same is said"
    return Truth(
        effect=effect, done=f"manifest, {done}", checks=checks, scope=scope,
        why="" if effect is Effect.CHANGED else why,
    )  # fmt: skip


def _entries(work: Workspace, dice: Dice, change: Callable[[Any, Dice], Any] = another) -> Truth:
    name = dice.pick(VOLUMES)
    path = f"volumes/{name}.jsonl.zst"
    lines = [json.loads(line) for line in work.unpacked(path).splitlines()]
    what = dice.pick(("change", "change", "change", "drop a line", "repeat a line"))
    effect = Effect.CHANGED
    if what == "change":
        line = dice.pick(lines)
        what, effect = _leaf(line, dice, f"entry/{line.get('type', '')}", change)
    elif what == "drop a line":
        del lines[dice.below(len(lines))]
    else:
        lines.insert(dice.below(len(lines)), dice.pick(lines))
        effect = Effect.EITHER
    data = b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)
    work.path(path).write_bytes(zstandard.compress(data))
    seal(work)
    return Truth(
        effect=effect, done=f"list of {name}: {what}", checks=("DR-04",), scope=Scope(volumes=(name,)),
        why="" if effect is Effect.CHANGED else why_harmless(what.split(" ")[0]) or "the same is said, twice",
    )  # fmt: skip


ANOTHER_KIND = "another kind"
KINDS = (
    "artifacts",
    "content",
    "content",
    "content",
    "roles",
    "database",
    "volume",
    "set",
    "entries",
    "layout",
    ANOTHER_KIND,
)


def perform(bench: Bench, work: Workspace, steps: Sequence[Step]) -> Truth:
    """Let the manifest, or a list of entries, say something else."""
    kind, dice = steps[0].kind, Dice(steps[0].dice)
    if kind == "layout":
        return _layout(work, dice, bench.signing_key)
    if kind == ANOTHER_KIND:
        part = dice.pick(("content", "content", "roles", "database", "volume", "set", "entries"))
        if part == "entries":
            return _entries(work, dice, of_another_kind)
        return _manifest(work, part, dice, bench.signing_key, of_another_kind)
    return _entries(work, dice) if kind == "entries" else _manifest(work, kind, dice, bench.signing_key)


MANIFESTS = Level(
    name="manifests",
    title="statements of the manifest and of the lists of entries, signed with the real key",
    kinds=KINDS,
    perform=perform,
    examples=10,
    sets=None,
)
