"""Roles are compared by what they may do; findings are grouped; texts never show too much."""

# Fixtures carry the types; statements stay on one line.
# ruff: noqa: ANN001, ANN003, ANN201

from copy import deepcopy

import pytest

from smos.checks.dr.content import INFORMATION, LISTED_PER_CODE, REMEDIES, content_findings
from smos.postgres.acl import Grant, parse_acl
from smos.postgres.compare import Difference, compare_roles
from smos.postgres.content import SequenceContent
from smos.postgres.difference import contrast
from smos.postgres.names import qualified
from smos.verdict import Verdict

ROLE = {
    "superuser": False,
    "inherit": True,
    "create_role": False,
    "create_db": False,
    "login": True,
    "replication": False,
    "bypass_row_security": False,
    "connection_limit": -1,
    "valid_until": None,
    "bootstrap": False,
    "has_password": True,
}
SOURCE = {
    "roles": {"postgres": {**ROLE, "superuser": True, "bootstrap": True}, "app": ROLE, "reader": ROLE},
    "memberships": [
        {
            "role": "reader",
            "member": "app",
            "grantor": "postgres",
            "admin": False,
            "inherit": True,
            "set": True,
        }
    ],
    "settings": {"app": ["statement_timeout=30s"]},
    "tablespaces": {"fast": {"owner": "postgres", "acl": ["postgres=C/postgres"], "location": "/fast"}},
    "parameters": {"log_statement": ["postgres=sA/postgres", "app=s/postgres"]},
}


def sandbox(change=deepcopy):
    """Return the source's roles in a sandbox with an administrator of its own and a role of the harness."""
    roles = deepcopy(SOURCE)
    roles["roles"]["smos_admin"] = roles["roles"].pop("postgres")
    roles["roles"]["smos_loader"] = dict(ROLE)
    for name in ("tablespaces", "parameters"):
        roles[name] = eval(repr(roles[name]).replace("postgres", "smos_admin"))  # noqa: S307  (our own literals)
    change(roles)
    return roles


def codes(change, **options):
    return {d.code for d in compare_roles(SOURCE, sandbox(change), ignore=("smos_loader",), **options)}


def test_another_administrator_and_the_roles_of_the_harness_are_no_difference():
    assert codes(deepcopy) == set()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda r: r["roles"].pop("reader"), "role-missing"),
        (lambda r: r["roles"]["app"].update(superuser=True), "role-changed"),
        (lambda r: r["roles"]["app"].update(bypass_row_security=True), "role-changed"),
        (lambda r: r["roles"]["app"].update(connection_limit=3), "role-changed"),
        (lambda r: r["roles"]["app"].update(has_password=False), "password-missing"),
        (lambda r: r["roles"].update(intruder=ROLE), "role-extra"),
        (lambda r: r["memberships"].clear(), "membership-missing"),
        (lambda r: r["memberships"][0].update(admin=True), "membership-changed"),
        (lambda r: r["memberships"].append({**r["memberships"][0], "role": "app", "member": "reader"}), "membership-extra"),
        (lambda r: r["settings"].clear(), "role-setting-differs"),
        (lambda r: r["tablespaces"].clear(), "tablespace-missing"),
        (lambda r: r["parameters"].clear(), "grant-missing"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_change_of_roles_is_found(change, code):
    assert codes(change) == {code}


def test_what_only_the_sandbox_has_of_roles_is_a_difference():
    source = deepcopy(SOURCE)
    source["roles"]["app"] = {**ROLE, "has_password": False, "comment": None}
    source["settings_of_all"] = []
    found = deepcopy(source)
    assert compare_roles(source, found) == ()
    found["roles"]["app"] = {**ROLE, "has_password": True, "comment": "sha256:0"}
    found["settings_of_all"] = ["row_security=off"]
    found["parameters"]["work_mem"] = ["app=s/postgres"]
    assert [(item.code, item.object) for item in compare_roles(source, found)] == [
        ("role-changed", "role:app"),
        ("role-changed", "role:app"),
        ("role-setting-differs", "role:"),
        ("grant-extra", "parameter:work_mem"),
    ]


def test_what_alter_role_all_set_is_told_apart_as_no_dump_holds_it():
    source = {**deepcopy(SOURCE), "settings_of_all": ["lock_timeout=7s"]}
    (found,) = compare_roles(source, {**deepcopy(source), "settings_of_all": []})
    assert found.code == "setting-of-all-roles-lost"
    assert [item.verdict for item in content_findings("roles", [found])] == [Verdict.NOT_PROVEN]


def test_a_manifest_of_before_comments_and_settings_of_all_roles_says_nothing_of_them():
    assert (
        codes(lambda r: (r["roles"]["app"].update(comment="x"), r.update(settings_of_all=["a=b"]))) == set()
    )


def test_memberships_of_predefined_roles_count_where_the_manifest_lists_them():
    source = deepcopy(SOURCE)
    given = {**source["memberships"][0], "member": "pg_monitor"}
    found = {**deepcopy(source), "memberships": [*source["memberships"], given], "predefined_members": True}
    assert compare_roles(source, found) == (), "earlier manifests left them out"
    listed = {**source, "predefined_members": True}
    extra = ("membership-extra", "membership:pg_monitor in reader")
    assert [(item.code, item.object) for item in compare_roles(listed, found)] == [extra]
    missing = ("membership-missing", "membership:pg_monitor in reader")
    assert [(item.code, item.object) for item in compare_roles(found, listed)] == [missing]
    other = {**found, "memberships": [*found["memberships"], {**given, "member": "intruder"}]}
    assert [item.object for item in compare_roles(source, other)] == ["membership:intruder in reader"]


def test_an_unreadable_password_is_no_difference():
    assert codes(lambda r: r["roles"]["app"].update(has_password=None)) == set()


def test_access_lists_are_read_whatever_the_names():
    assert parse_acl(['"a=b/""c"=r*w/"x y"', "=X/o"]) == {
        Grant('a=b/"c', "r", True, "x y"),
        Grant('a=b/"c', "w", False, "x y"),
        Grant("", "X", False, "o"),
    }
    with pytest.raises(ValueError, match="not an access list"):
        parse_acl(["nonsense"])


def test_names_are_quoted_without_regard_to_keywords():
    assert qualified("public", "select", "A b", 'x"y') == 'public.select."A b"."x""y"'
    assert qualified("a.b", "c") != qualified("a", "b.c")


@pytest.mark.parametrize(
    ("last", "called", "increment", "lowest", "highest", "behind"),
    [
        (10, True, 1, 1, 10, False),
        (9, True, 1, 1, 10, True),
        (10, False, 1, 1, 10, True),
        (11, False, 1, 1, 10, False),
        (91, True, 10, 1, 95, False),
        (1, False, 1, None, None, False),
        (-10, True, -1, -10, -1, False),
        (-9, True, -1, -10, -1, True),
    ],
)
def test_a_sequence_is_behind_when_its_next_value_was_passed(
    last, called, increment, lowest, highest, behind
):
    sequence = SequenceContent(
        last_value=last, is_called=called, increment=increment, lowest=lowest, highest=highest
    )
    assert sequence.behind is behind


def test_a_contrast_is_short_and_shows_where_two_texts_part():
    text = contrast("SELECT " + "a, " * 500 + "b", "SELECT " + "a, " * 500 + "c")
    assert len(text) <= 200
    assert "b" in text.split("found")[0]
    assert contrast(None, True) == "expected nothing, found yes"


def test_findings_of_one_kind_are_grouped():
    many = [Difference("rows-missing", f"table:t{n}", "expected 2 rows, found 1") for n in range(50)]
    findings = content_findings("db", many)
    assert len(findings) == LISTED_PER_CODE + 1
    assert "30 more" in findings[-1].message
    assert "50 in all" in findings[-1].message


def test_what_is_uncertain_or_unread_is_not_proven_and_provenance_is_information():
    findings = content_findings(
        "db",
        [
            Difference("view-differs", "view:v", "", uncertain=True),
            Difference("content-unread", "table:t", ""),
            Difference("grantor-differs", "table:t", ""),
            Difference("policy-lost", "policy:p", ""),
        ],
    )
    assert [finding.verdict for finding in findings] == [
        Verdict.NOT_PROVEN,
        Verdict.NOT_PROVEN,
        Verdict.PASS,
        Verdict.FAIL,
    ]
    assert content_findings("db", ()) == ()


def test_every_code_that_fails_has_a_remedy():
    assert {code for code, text in REMEDIES.items() if not text} == INFORMATION
