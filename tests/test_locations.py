"""Where files are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from cagchat.errors import ConfigError
from cagchat.locations import Locations, locate


def folders(locations: Locations) -> tuple[Path, Path, Path]:
    return locations.config, locations.data, locations.cache


def test_cagchat_home_moves_everything(tmp_path: Path) -> None:
    """All folders are inside CAGCHAT_HOME, each in its own."""
    found = folders(locate({"CAGCHAT_HOME": str(tmp_path)}))
    assert {folder.parent for folder in found} == {tmp_path}
    assert len(set(found)) == 3


def test_a_relative_home_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative CAGCHAT_HOME is taken from where the program was started."""
    monkeypatch.chdir(tmp_path)
    assert locate({"CAGCHAT_HOME": "here"}).data.parent == tmp_path / "here"


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CAGCHAT_HOME may start with ~."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert locate({"CAGCHAT_HOME": "~/books"}).data.parent == tmp_path / "books"


def test_a_home_of_nobody_is_a_config_error() -> None:
    """A home folder of nobody is an error that names the variable, not a traceback."""
    with pytest.raises(ConfigError, match="CAGCHAT_HOME is ~no-such-user/x"):
        locate({"CAGCHAT_HOME": "~no-such-user/x"})


@pytest.mark.parametrize("environ", [{}, {"CAGCHAT_HOME": ""}])
def test_without_it_the_platform_decides(environ: dict[str, str]) -> None:
    """Unset or empty, the folders are the platform's, and carry the program's name."""
    for folder in folders(locate(environ)):
        assert folder.is_absolute()
        assert "cagchat" in folder.parts


def test_locating_creates_nothing(tmp_path: Path) -> None:
    """Asking where files would be makes no folder."""
    locate({"CAGCHAT_HOME": str(tmp_path / "home")})
    assert list(tmp_path.iterdir()) == []


def test_files_lie_in_their_folders(tmp_path: Path) -> None:
    """What must last is under data, what can be deleted under cache, what the user writes under config."""
    found = locate({"CAGCHAT_HOME": str(tmp_path)})
    assert found.config_file.is_relative_to(found.config)
    assert all(path.is_relative_to(found.data) for path in (found.states, found.sessions_db, found.models))
    assert found.logs.is_relative_to(found.cache)
