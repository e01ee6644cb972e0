"""Files are whole at any moment."""

import os
import stat
import threading
from pathlib import Path

import pytest

from refocal import files


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


@pytest.mark.parametrize("binary", [False, True])
def test_what_fails_leaves_the_old_file(tmp_path: Path, binary: bool) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def half() -> None:
        with files.replacing(path, binary=binary) as file:
            file.write(b"new" if binary else "new")
            assert path.read_bytes() == b"old"
            raise KeyError

    with pytest.raises(KeyError):
        half()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_text_is_utf_8_with_its_own_line_ends(tmp_path: Path) -> None:
    files.write_text(tmp_path / "file", "γ\r\n\n")
    assert (tmp_path / "file").read_bytes() == "γ\r\n\n".encode()
    assert names(tmp_path) == ["file"]


def test_permissions_are_those_of_the_old_file_or_of_any_new_one(tmp_path: Path) -> None:
    other, path = tmp_path / "other", tmp_path / "file"
    other.write_text("")
    files.write_text(path, "")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(other.stat().st_mode)
    path.chmod(0o640)
    files.write_text(path, "again")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    real, link = tmp_path / "folder" / "real", tmp_path / "link"
    real.write_text("old")
    link.symlink_to(real)
    files.write_text(link, "new")
    assert link.is_symlink()
    assert real.read_text() == "new"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    path, found = tmp_path / "pipe", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: found.append(path.read_text()))
    reader.start()
    files.write_text(path, "through")
    reader.join()
    assert found == ["through"]
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        files.write_text(tmp_path / "nowhere" / "file", "")


def test_no_other_writer_in_the_library() -> None:
    """A file is opened for writing in one place. (The locks of compare have theirs.)"""
    for path in Path(files.__file__).parent.rglob("*.py"):
        text = path.read_text()
        for writes in (".write_text(", ".write_bytes(", '"w"', '"wb"', "torch.save(", "json.dump("):
            assert writes not in text or path.name == "files.py", (path.name, writes)
