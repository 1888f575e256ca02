"""The commit of a checkout, and none, without any error, where there is no checkout."""

import shutil
import subprocess
from pathlib import Path

import pytest

from mucal.io import checkout
from mucal.io.checkout import commit_of

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    return subprocess.run(["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """One commit of one file, with a tag that must not take the place of the hash."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "a.py").write_text("1\n")
    git(folder, "add", "a.py")
    git(folder, "commit", "-q", "-m", "first")
    git(folder, "tag", "v1")
    return folder


def test_a_checkout_has_the_hash_of_its_commit(repository: Path):
    assert commit_of(repository) == git(repository, "rev-parse", "HEAD")


def test_a_changed_checkout_says_so(repository: Path):
    (repository / "a.py").write_text("2\n")
    assert commit_of(repository) == git(repository, "rev-parse", "HEAD") + "-dirty"


def test_a_further_worktree_is_a_checkout(repository: Path, tmp_path: Path):
    git(repository, "worktree", "add", "-q", str(tmp_path / "second"))
    assert commit_of(tmp_path / "second") == git(repository, "rev-parse", "HEAD")


def test_a_folder_inside_another_checkout_is_none(repository: Path):
    # a package that was installed somewhere below somebody's analysis is not of their commit
    (repository / "site-packages").mkdir()
    assert commit_of(repository / "site-packages") is None


@pytest.mark.parametrize("content", [None, "gitdir: nowhere", ""])
def test_what_is_no_checkout_is_none(tmp_path: Path, content: str | None):
    if content is not None:
        (tmp_path / ".git").write_text(content)
    assert commit_of(tmp_path) is None


def test_a_checkout_without_a_commit_is_none(tmp_path: Path):
    git(tmp_path, "init", "-q")
    assert commit_of(tmp_path) is None


def test_without_git_it_is_none(repository: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    assert commit_of(repository) is None


def test_a_git_that_hangs_is_none(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    hangs = tmp_path / "bin" / "git"
    hangs.parent.mkdir()
    hangs.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    hangs.chmod(0o755)
    monkeypatch.setenv("PATH", str(hangs.parent))
    monkeypatch.setattr(checkout, "PATIENCE", 0.2)
    assert commit_of(repository) is None


def test_a_folder_that_is_not_there_is_none(tmp_path: Path):
    assert commit_of(tmp_path / "nothing") is None
