"""Paths, and the way of a file from mirror or network into the cache, on a toy data set."""

import errno
import hashlib
import http.server
import multiprocessing
import os
import pathlib
import signal
import socket
import stat
import subprocess
import threading
import time

import pytest

from svae_repro import paths
from svae_repro.data import source
from svae_repro.errors import UserError

CONTENT = b"abc"
# The test vector of FIPS 180-2, so that the oracle is not the code's own hashing.
FILE = source.DataFile("TOY/raw/abc.bin", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SVAE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SVAE_DATA_MIRROR", raising=False)
    monkeypatch.setattr(source, "_offline", {})
    return tmp_path / "home"


@pytest.fixture
def cached(home):
    return home / "data" / FILE.path


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    file = tmp_path / "mirror" / FILE.path
    file.parent.mkdir(parents=True)
    file.write_bytes(CONTENT)
    monkeypatch.setenv("SVAE_DATA_MIRROR", str(tmp_path / "mirror"))
    return file


def no_download(file, folder):
    pytest.fail("this must not touch the network")


def offline(file, folder):
    raise TimeoutError("timed out")


def online(file, folder):
    (folder / "abc.bin").write_bytes(CONTENT)


def in_subprocess(function):
    """Run `function` in a forked child; its exit status as `Process.exitcode` gives it."""
    child = multiprocessing.get_context("fork").Process(target=function)
    child.start()
    child.join(30)
    return child.exitcode


# ---- paths


def test_home_is_read_when_called_and_never_moves_the_published_numbers(monkeypatch, tmp_path):
    repository = pathlib.Path(__file__).parents[2]
    monkeypatch.delenv("SVAE_HOME", raising=False)
    assert paths.results("quick") == repository / "results" / "quick"
    monkeypatch.setenv("SVAE_HOME", str(tmp_path))
    assert paths.results("quick", standin=True) == tmp_path / "results" / "quick-standin"
    assert paths.figures("paper") == tmp_path / "figures" / "paper"
    assert paths.data_cache() == tmp_path / "data"
    assert paths.published() == repository / "results" / "published"


def test_mirror_is_relative_to_the_working_directory_and_must_exist(monkeypatch, tmp_path):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SVAE_DATA_MIRROR", "here")
    assert paths.data_mirror() == tmp_path / "here"
    monkeypatch.setenv("SVAE_DATA_MIRROR", "nowhere")
    with pytest.raises(UserError, match=r"^SVAE_DATA_MIRROR is 'nowhere'.*not a folder.*$"):
        paths.data_mirror()
    monkeypatch.setenv("SVAE_DATA_MIRROR", "")
    assert paths.data_mirror() is None


# ---- cache, mirror, download


def test_mirror_is_copied_once_and_the_copy_suffices(cached, mirror):
    assert source.read(FILE, no_download) == CONTENT
    assert cached.read_bytes() == CONTENT
    mirror.unlink()
    assert source.read(FILE, no_download) == CONTENT
    assert os.listdir(cached.parent) == ["abc.bin"]


def test_download_is_the_last_resort_and_is_kept(cached):
    assert source.read(FILE, online) == CONTENT
    assert source.read(FILE, no_download) == CONTENT


@pytest.mark.parametrize("found", [b"ab", b"abd", b""], ids=["truncated", "changed", "empty"])
@pytest.mark.parametrize("where", ["cache", "mirror"])
def test_wrong_checksum_is_one_clear_line_and_never_the_standin(cached, mirror, where, found):
    broken = cached if where == "cache" else mirror
    broken.parent.mkdir(parents=True, exist_ok=True)
    broken.write_bytes(found)
    with pytest.raises(UserError) as caught:
        source.choose("auto", lambda: source.read(FILE, no_download), lambda: pytest.fail("took the stand-in"))
    line = str(caught.value)
    assert "\n" not in line and str(broken) in line and FILE.sha256 in line
    assert ("delete it" if where == "cache" else "unset SVAE_DATA_MIRROR") in line
    if found == b"":  # the other well-known test vector
        assert "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" in line
    assert where == "cache" or not cached.exists()


def test_a_download_that_sends_another_file_is_refused(cached):
    with pytest.raises(UserError, match="is corrupt"):
        source.read(FILE, lambda file, folder: (folder / "abc.bin").write_bytes(b"<html>"))
    assert not cached.exists()


def test_offline_is_asked_once_then_real_fails_in_one_line_and_auto_takes_the_standin(home, capsys):
    asked = []

    def download(file, folder):
        asked.append(file)
        offline(file, folder)

    def real():
        return source.read(FILE, download)

    for _ in range(2):
        assert source.choose("auto", real, lambda: "stand-in") == "stand-in"
        said = capsys.readouterr().err
        assert said.startswith("stand-in data, as the real ones cannot be had: ") and "abc.bin" in said
    with pytest.raises(UserError, match=r"\A[^\n]*abc\.bin[^\n]*timed out[^\n]*SVAE_DATA_MIRROR[^\n]*\Z"):
        source.choose("real", real, lambda: "stand-in")
    assert len(asked) == 1
    assert source.choose("standin", no_download, lambda: "stand-in") == "stand-in"
    with pytest.raises(UserError, match=r"'fake'.*auto, real, standin"):
        source.choose("fake", real, lambda: "stand-in")


# ---- a cache that cannot be written, or not to the end


def test_full_disk_is_one_line_and_leaves_nothing_behind(cached, mirror, monkeypatch):
    def half(path, content):
        with open(path, "wb") as file:
            file.write(content[:1])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pathlib.Path, "write_bytes", half)
    with pytest.raises(UserError, match=r"No space left.*free some space"):
        source.read(FILE, no_download)
    assert os.listdir(cached.parent) == []


def test_read_only_cache_reads_from_the_mirror_but_refuses_a_download(home, mirror, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(pathlib.Path, "mkdir", refuse)
    assert source.read(FILE, no_download) == CONTENT
    mirror.unlink()
    with pytest.raises(UserError, match=r"Read-only.*SVAE_HOME"):
        source.read(FILE, online)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere and read everything")
def test_real_permissions(cached, mirror):
    cached.parent.mkdir(parents=True)
    cached.parent.chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert source.read(FILE, no_download) == CONTENT and not cached.exists()
    cached.parent.chmod(stat.S_IRWXU)
    mirror.chmod(0)
    with pytest.raises(UserError, match="cannot read"):
        source.read(FILE, no_download)


def test_killed_copy_leaves_no_broken_file(cached, mirror, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        assert in_subprocess(lambda: source.read(FILE, no_download)) == -signal.SIGKILL
    assert os.listdir(cached.parent) and not cached.exists()  # it was killed between writing and renaming
    assert source.read(FILE, no_download) == CONTENT


def test_processes_that_start_together_do_not_collide(cached, mirror, monkeypatch):
    together, replace = multiprocessing.get_context("fork").Barrier(4), os.replace

    def replace_when_all_have_written(*names):
        together.wait(20)
        replace(*names)

    monkeypatch.setattr(os, "replace", replace_when_all_have_written)

    def start():
        os._exit(0 if source.read(FILE, no_download) == CONTENT else 1)

    children = [multiprocessing.get_context("fork").Process(target=start) for _ in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join(30)
    assert [child.exitcode for child in children] == [0] * 4
    assert os.listdir(cached.parent) == ["abc.bin"]


# ---- hosts that do not answer


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(source, "PATIENCE", 0.3)


def test_a_silent_host_is_given_up(impatient):
    with socket.socket() as silent:  # accepts the connection, says nothing
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        start = time.monotonic()
        assert not source.reachable(f"http://127.0.0.1:{silent.getsockname()[1]}/")
        assert time.monotonic() - start < 2


def test_a_hanging_name_look_up_is_given_up(impatient, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(3) or [])
    start = time.monotonic()
    assert not source.reachable("http://example.invalid/")
    assert time.monotonic() - start < 2


def test_a_host_that_answers_is_reachable(monkeypatch):
    class Quiet(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200 if self.path == "/there" else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.HTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        assert source.reachable(f"{address}/there")
        assert not source.reachable(f"{address}/elsewhere")
        server.shutdown()


# ---- folders


def test_a_folders_checksum_is_that_of_what_sha256sum_prints(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.txt").write_bytes(b"abc")
    (tmp_path / "sub/b.txt").write_bytes(b"")
    names = ("a.txt", "sub/b.txt")
    printed = subprocess.run(["sha256sum", *names], cwd=tmp_path, capture_output=True, check=True).stdout
    folder = source.DataFolder("set/folder", hashlib.sha256(printed).hexdigest(), names)
    assert folder.checksum(folder.content(tmp_path)) == folder.sha256


def test_a_folder_is_copied_whole_and_an_unfinished_copy_is_finished(home, tmp_path, monkeypatch):
    content = {"a": b"1", "sub/b": b"2"}
    folder = source.DataFolder("set/folder", source.DataFolder("", "", ()).checksum(content), tuple(content))
    monkeypatch.setenv("SVAE_DATA_MIRROR", str(tmp_path / "mirror"))
    (tmp_path / "mirror").mkdir()
    folder.store(content | {"other": b"never looked at"}, tmp_path / "mirror/set/folder")
    cached = home / "data/set/folder"
    for _ in range(2):
        assert source.read(folder, no_download) == content
        assert sorted(p.name for p in cached.rglob("*")) == ["a", "b", "sub"]
        (cached / "a").unlink()
    (tmp_path / "mirror/set/folder/a").write_bytes(b"9")
    with pytest.raises(UserError, match=r"\A[^\n]*set/folder is corrupt[^\n]*\Z"):
        source.read(folder, no_download)
