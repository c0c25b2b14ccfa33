"""Addresses: secrets with any characters are masked, and paths survive the round trip."""

from __future__ import annotations

import string
import tempfile
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import make_url

from keyneurons.addresses import for_mlflow, masked, masked_address, sqlite_address, sqlite_path
from keyneurons.tracking import Store

SECRETS = st.text(string.ascii_letters + string.digits + ":@/?#%&=+,;'\"[]{}()!$*~-._|\\<>^`é", min_size=1, max_size=12)
SCHEMES = ["http", "https", "postgresql", "postgresql+psycopg2", "mysql+pymysql", "mssql"]
FOLDERS = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40).filter(
    lambda name: name not in {".", ".."} and len(name.encode()) < 200
)
MARK = "p4ssw0rd"  # surrounded by the generated characters, so that a leak is not a coincidence


@settings(derandomize=True, deadline=None, max_examples=300)
@given(SECRETS, SECRETS, st.sampled_from(SCHEMES), st.booleans())
def test_no_password_is_shown(before: str, after: str, scheme: str, escaped: bool) -> None:
    secret = f"{before}{MARK}{after}"
    secret = quote(secret, safe="") if escaped else secret
    for address in (f"{scheme}://me:{secret}@host:5000/x", f"{scheme}://host:5000/x?user=me&password={secret}"):
        for shown in (masked_address(address), masked(f"MLflow at {address}: it's away (tracking.uri)")):
            assert MARK not in shown
            assert shown != address


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://me:secret@host/x", "http://me:***@host/x"),
        ("http://me:se:c@ret@host/x", "http://me:***@host/x"),
        ("http://TOKEN@host:5000", "http://***@host:5000"),
        ("https://TOKEN:@host", "https://***:***@host"),
        ("git+https://TOKEN@host/a", "git+https://***@host/a"),
        ("postgresql://me:1234@host/db", "postgresql://me:***@host/db"),
        ("postgresql://host/db?user=me&password=x&sslmode=require", "postgresql://host/db?user=me&password=***"),
        ("postgresql://host/db?PassWord=x", "postgresql://host/db?PassWord=***"),
        ("postgresql://host/db?pass%77ord=x", "postgresql://host/db?***"),
        ("mssql+pyodbc:///?odbc_connect=DRIVER%3Dx%3BPWD%3Dsecret", "mssql+pyodbc:///?***"),
        ("https://host/#access_token=abc", "https://host/#access_token=***"),
        ("https://host/?api_key=abc", "https://host/?api_key=***"),
        ("https://host/?key=abc", "https://host/?key=***"),
        ("me:secret@host:5000", "me:***@host:5000"),
    ],
)
def test_what_counts_as_a_secret(address: str, shown: str) -> None:
    assert masked_address(address) == shown


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:5000",
        "https://host/path/x",
        "https://host/a@b",
        "postgresql://me@host:5432/db?sslmode=require&passfile=/home/me/.pgpass&sslkey=/home/me/key",
        "sqlite:////home/me:you@work/a?b.db",
        "sqlite+pysqlite:////home/a:b@c",
        "file:///home/a:b@c",
        "databricks://profile",
        "databricks",
        "mlruns",
        "",
    ],
)
def test_what_is_no_secret(address: str) -> None:
    assert masked_address(address) == address == masked(address)


def test_every_address_of_a_text_is_masked() -> None:
    text = "tracking.uri=sqlite:////a@b:c,http://u:pa@d@one 'http://v:x@two' selection@selection.of=lape"
    assert (
        masked(text) == "tracking.uri=sqlite:////a@b:c,http://u:***@one 'http://v:***@two' selection@selection.of=lape"
    )


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.lists(FOLDERS, min_size=1, max_size=3))
def test_a_path_is_the_same_in_an_address(names: list[str]) -> None:
    path = Path("/", *names, "mlflow.db")
    assert sqlite_path(sqlite_address(path)) == path
    assert make_url(sqlite_address(path)).database == str(path)  # as SQLAlchemy parses it
    assert make_url(for_mlflow(sqlite_address(path))).database == str(path)


@pytest.mark.parametrize("name", ["what? My%20Data", 'it\'s "$HOME"; ${x} :y', " -~{x}=[1]\\#a:b@c ", "é\n語 100%"])
def test_a_real_database_lies_in_its_folder_and_nothing_beside_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / name
    home.mkdir()
    monkeypatch.chdir(home)
    store = Store(sqlite_address(home / "mlruns" / "mlflow.db"), home / "mlruns" / "artifacts", "test")
    run_id = store.create_run(store.connect(), "one", {}, None)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "note.txt").write_text("kept")
        store.add_folder(run_id, Path(folder), "notes")
    assert store.artifact(run_id, "notes/note.txt").read_text() == "kept"
    assert store.artifact(run_id, "notes/note.txt").is_relative_to(home)
    assert list(tmp_path.iterdir()) == [home]
    assert {path.name for path in (home / "mlruns").iterdir()} - {"mlflow.db.lock"} == {"mlflow.db", "artifacts"}
    assert [run["name"] for run in store.search("test", "")] == ["one"]
