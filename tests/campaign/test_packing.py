"""A campaign handed to another machine is the same there, and a hostile pack gets nowhere."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from made_campaigns import go_on, workspace_for

from reactivate.campaign.packing import pack
from reactivate.campaign.review import review
from reactivate.campaign.unpacking import unpack
from reactivate.errors import ExitCode, LedgerError, UsageError
from reactivate.workspace import Workspace
from tests.cli.workspaces import in_process


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = workspace_for(tmp_path_factory.mktemp("packed") / "w")
    go_on(workspace, 1, steps=14, worst=True)
    return workspace


@pytest.fixture(scope="module")
def packed(campaign: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("pack") / "campaign.tar"
    pack(campaign, file)
    return file


def test_the_same_is_said_there(
    campaign: Workspace, packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "there"
    found = unpack(packed, there)
    assert found.sha256 == hashlib.sha256(packed.read_bytes()).hexdigest()
    for command in (["status"], ["status", "--json"], ["log"], ["log", "--json"],
                    ["ledger", "replay", "--json"], ["history", "stack.peak"],
                    ["log", "--write"]):  # fmt: skip
        here = in_process(["-C", str(campaign.root), *command], capsys)
        other = in_process(["-C", str(there), *command], capsys)
        assert here.code == other.code == ExitCode.DONE, other.err
        assert here.out.replace(str(campaign.root), "X") == other.out.replace(str(there), "X")
    files = {
        path.relative_to(campaign.root): path.read_bytes()
        for path in sorted((campaign.root / "results").rglob("*.json"))
    }
    assert len(files) > 1
    assert all((there / name).read_bytes() == content for name, content in files.items())


def test_the_same_campaign_gives_the_same_bytes(campaign: Workspace, tmp_path: Path) -> None:
    first = pack(campaign, tmp_path / "1.tar")
    assert pack(campaign, tmp_path / "2.tar").sha256 == first.sha256
    # Nor does it matter where it lies, or when its files were written.
    unpack(first.file, tmp_path / "there")
    third = pack(Workspace(tmp_path / "there"), tmp_path / "3.tar")
    assert third.file.read_bytes() == first.file.read_bytes()


def test_it_goes_on_there(packed: Path, tmp_path: Path) -> None:
    unpack(packed, tmp_path / "there")
    there = Workspace(tmp_path / "there")
    before = review(there)
    go_on(there, 5, steps=3)
    assert review(there).events > before.events


def test_evidence_from_another_machine_is_stale(tmp_path: Path) -> None:
    workspace = workspace_for(tmp_path / "w")
    go_on(workspace, 3, steps=6, other_machine="Linux of another machine")
    pack(workspace, tmp_path / "a.tar")
    unpack(tmp_path / "a.tar", tmp_path / "there")
    stale = {phase.id: phase.stale for phase in review(Workspace(tmp_path / "there")).phases}
    assert stale["baseline"].startswith("changed since it was measured: kernel")


def test_missing_and_changed_evidence_is_named(campaign: Workspace, tmp_path: Path) -> None:
    shutil.copytree(campaign.root, tmp_path / "w")
    own = Workspace(tmp_path / "w")
    first, second, *_ = sorted(own.results.rglob("watermark.json"))
    first.unlink()
    second.write_text("{}")
    (own.configs / "link.toml").symlink_to("/etc/passwd")
    found = pack(own, tmp_path / "a.tar")
    assert found.missing == (first.relative_to(own.root).as_posix(),)
    assert found.changed == (second.relative_to(own.root).as_posix(),)
    assert found.left_out == ("configs/link.toml",)
    unpack(tmp_path / "a.tar", tmp_path / "there")
    assert (tmp_path / "there" / found.changed[0]).read_text() == "{}"


def test_nothing_is_overwritten(campaign: Workspace, packed: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="exists"):
        pack(campaign, packed)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    with pytest.raises(UsageError, match="is not an empty folder"):
        unpack(packed, tmp_path / "mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError):
        unpack(packed, tmp_path / "link")
    (tmp_path / "empty").mkdir()
    unpack(packed, tmp_path / "empty")
    assert (tmp_path / "empty" / "ledger.db").is_file()


Change = Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]


def _member(
    name: str, content: bytes = b"x", **attributes: object
) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for key, value in attributes.items():
        setattr(member, key, value)
    return member, content


def _first(name: str, content: bytes = b"x", **attributes: object) -> Change:
    return lambda members: members.insert(0, _member(name, content, **attributes))


def _listed_too(name: str) -> Change:
    """A file that the manifest knows, so that only its name can be what is refused."""

    def change(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        content = b"owned"
        _, text = members.pop()
        manifest = json.loads(text)
        manifest["files"].append(
            {"path": name, "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": 5}
        )
        members += [_member(name, content),
                    _member("manifest.json", json.dumps(manifest).encode())]  # fmt: skip

    return change


def _replace(name: str, content: bytes) -> Change:
    def change(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        index = next(i for i, (member, _) in enumerate(members) if member.name == name)
        members[index] = _member(name, content)

    return change


HOSTILE: dict[str, Change] = {
    "absolute": _listed_too("/tmp/reactivate-hostile-pack"),
    "above": _listed_too("../outside"),
    "above in the middle": _listed_too("configs/../../outside"),
    "dot": _listed_too("./configs/x.toml"),
    "empty part": _listed_too("configs//x.toml"),
    "a file and a folder": _listed_too("ledger.db/x"),
    **{f"not a campaign's: {name!a}": _listed_too(name) for name in (
        ".git/config", ".git/hooks/post-checkout", "probes/model/.git/hooks/post-checkout",
        ".envrc", "results/.run/4194303-x/daemon.json", "results/build/own/minimal/stamp.json",
        "results/source/own/tree/.git/config", "results/baseline/attempt-001/not-on-record.json",
        "results/build/attempt-001/x", "docs/decisions/.x", "docs/x.md", "configs/a\nb.toml",
        "configs/\x1b[2Jx", "probes/model/build/libx.so", "probes/x.so", "ledger.db-journal",
        "ledger.db.lock", "ledger.db-wal", "pyproject.toml",
    )},
    "symbolic link": _first("link", b"", type=tarfile.SYMTYPE, linkname="/etc"),
    "through a link": lambda members: members.__setitem__(
        slice(0, 0),
        [_member("d", b"", type=tarfile.SYMTYPE, linkname=".."), _member("d/outside")],
    ),
    "hard link": _first("link", b"", type=tarfile.LNKTYPE, linkname="/etc/passwd"),
    "device": _first("null", b"", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
    "fifo": _first("fifo", b"", type=tarfile.FIFOTYPE),
    "folder": _first("folder", b"", type=tarfile.DIRTYPE),
    "twice": lambda members: members.insert(1, members[0]),
    "unknown to the manifest": _first("configs/extra.toml"),
    "after the manifest": lambda members: members.append(_member("configs/extra.toml")),
    "missing": lambda members: members.__delitem__(0),
    "no manifest": lambda members: members.__delitem__(-1),
    "another ledger": _replace("ledger.db", b"SQLite format 3\x00" + bytes(100)),
    "manifest no JSON": _replace("manifest.json", b"{"),
    "manifest of a later version": _replace("manifest.json", b'{"schema": "reactivate.pack/9"}'),
    "manifest too deep": _replace("manifest.json", b"[" * 100_000),
    "manifest of nonsense": _replace(
        "manifest.json", b'{"schema": "reactivate.pack/1", "files": [3]}'
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pack_writes_nothing(name: str, packed: Path, tmp_path: Path) -> None:
    members: list[tuple[tarfile.TarInfo, bytes]] = []
    with tarfile.open(packed) as archive:
        for member in archive:
            file = archive.extractfile(member)
            assert file is not None
            members.append((member, file.read()))
    HOSTILE[name](members)
    hostile = tmp_path / "in" / "hostile.tar"
    hostile.parent.mkdir()
    with tarfile.open(hostile, "w", format=tarfile.PAX_FORMAT) as archive:
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))
    _refused(hostile, tmp_path)


def _refused(hostile: Path, tmp_path: Path) -> None:
    with pytest.raises(LedgerError) as refused:
        unpack(hostile, tmp_path / "there" / "w")
    assert refused.value.exit_code in (ExitCode.TAMPERED, ExitCode.LEDGER)
    assert sorted(p.name for p in tmp_path.rglob("*")) in (
        ["hostile.tar", "in"], ["hostile.tar", "in", "there"],
    )  # fmt: skip
    assert not Path("/tmp/reactivate-hostile-pack").exists()


def test_giant_and_negative_sizes(packed: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    hostile = tmp_path / "in" / "hostile.tar"
    for size in (1 << 60, 8 << 30, -1, -(1 << 40)):
        giant = tarfile.TarInfo("configs/giant")
        giant.size = size
        header = giant.tobuf(tarfile.GNU_FORMAT)
        hostile.write_bytes(header + packed.read_bytes())
        _refused(hostile, tmp_path)


def test_cut_off_anywhere_and_damaged_anywhere(packed: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    hostile = tmp_path / "in" / "hostile.tar"
    whole = packed.read_bytes()
    end = whole.index(b"manifest.json\0")
    for number in range(10):
        hostile.write_bytes(whole[: end * number // 10])
        _refused(hostile, tmp_path)
    with tarfile.open(packed) as archive:
        contents = [
            (m.offset_data, m.size) for m in archive if m.size and m.name != "manifest.json"
        ]
    for offset, size in contents[:: max(1, len(contents) // 10)]:
        at = offset + size // 2
        hostile.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        _refused(hostile, tmp_path)


def test_a_relative_name(
    campaign: Workspace, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert pack(campaign, Path("here.tar")).file == Path("here.tar")
    assert (tmp_path / "here.tar").read_bytes() == packed.read_bytes()
