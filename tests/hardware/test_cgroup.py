"""The limits of control groups, from trees of files as kernels and containers show them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cagchat.hardware.cgroup import Limit, read_limit

MIB = 1 << 20
NONE_V1 = 9223372036854771712

V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNTS = (
    "31 23 0:27 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
    "32 31 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
    "33 31 0:29 {part} /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n"
)


class Tree:
    """A root folder with the tables of one process and the files of groups."""

    def __init__(self, root: Path, groups: str, mounts: str) -> None:
        self.root = root
        (root / "proc/self").mkdir(parents=True)
        (root / "proc/self/cgroup").write_text(groups)
        (root / "proc/self/mountinfo").write_text(mounts)

    def group(self, folder: str, **files: object) -> None:
        """Write a group's files; `stat` is memory.stat, the others are named with _ for a dot."""
        path = self.root / "sys/fs/cgroup" / folder
        path.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (path / f"memory.{name}").write_text(f"{content}\n")


def test_container_with_a_namespace_of_its_own(tmp_path: Path) -> None:
    """In v2 the container's own limit stands at the mount point; file cache that can be dropped counts as free."""
    tree = Tree(tmp_path, "0::/\n", V2_MOUNT)
    tree.group("", max=512 * MIB, current=300 * MIB, stat=f"anon 5\ninactive_file {100 * MIB}")
    assert read_limit(tmp_path) == Limit(512 * MIB, 312 * MIB)


def test_tightest_group_around_binds(tmp_path: Path) -> None:
    """Of a group and those around it the one with the least room counts."""
    tree = Tree(tmp_path, "0::/user.slice/app.scope\n", V2_MOUNT)
    tree.group("user.slice/app.scope", max=900 * MIB, current=100 * MIB)
    tree.group("user.slice", max=1000 * MIB, current=950 * MIB)
    assert read_limit(tmp_path) == Limit(1000 * MIB, 50 * MIB)


def test_no_limit_is_none(tmp_path: Path) -> None:
    """The word max is no limit."""
    tree = Tree(tmp_path, "0::/a\n", V2_MOUNT)
    tree.group("a", max="max", current=5)
    assert read_limit(tmp_path) is None


def test_first_version_of_control_groups(tmp_path: Path) -> None:
    """In v1 the memory controller has a mount of its own; its largest number is no limit."""
    tree = Tree(tmp_path, "5:cpu:/\n4:memory:/docker/abc\n0::/\n", V1_MOUNTS.format(part="/"))
    stat = f"cache 7\ntotal_inactive_file {MIB}"
    tree.group("memory/docker/abc", limit_in_bytes=64 * MIB, usage_in_bytes=32 * MIB, stat=stat)
    tree.group("memory", limit_in_bytes=NONE_V1, usage_in_bytes=5)
    assert read_limit(tmp_path) == Limit(64 * MIB, 33 * MIB)


def test_container_that_sees_its_part_of_the_tree_only(tmp_path: Path) -> None:
    """Without a namespace the path is the host's, and the mount shows the part below it."""
    tree = Tree(tmp_path, "4:cpuset,memory:/docker/abc\n", V1_MOUNTS.format(part="/docker/abc"))
    tree.group("memory", limit_in_bytes=64 * MIB, usage_in_bytes=80 * MIB)
    assert read_limit(tmp_path) == Limit(64 * MIB, 0)


def test_group_outside_of_the_namespace(tmp_path: Path) -> None:
    """A path that leads out of what is mounted falls back to the mount point."""
    tree = Tree(tmp_path, "0::/../../elsewhere\n", V2_MOUNT)
    tree.group("", max=64 * MIB, current=MIB)
    assert read_limit(tmp_path) == Limit(64 * MIB, 63 * MIB)


@pytest.mark.parametrize(("groups", "mounts"), [("", ""), ("no table", "a b c - d"), ("0::/\n", "1 2 3\n - \n")])
def test_odd_tables_are_no_limit(tmp_path: Path, groups: str, mounts: str) -> None:
    """Tables that are empty or not as they should be give no limit and no error."""
    Tree(tmp_path, groups, mounts)
    assert read_limit(tmp_path) is None


def test_damaged_numbers_are_no_limit(tmp_path: Path) -> None:
    """Files without a number are passed over."""
    tree = Tree(tmp_path, "0::/\n", V2_MOUNT)
    tree.group("", max="many", current="some", stat="inactive_file none of it")
    assert read_limit(tmp_path) is None
    tree.group("", max=64 * MIB)
    assert read_limit(tmp_path) == Limit(64 * MIB, 64 * MIB)


def test_systems_without_control_groups_have_no_limit(tmp_path: Path) -> None:
    """Where there is no table there is no limit."""
    assert read_limit(tmp_path) is None
