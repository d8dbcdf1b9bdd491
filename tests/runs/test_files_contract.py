"""Every place where runs are kept keeps the same promises, whatever fails."""

import logging
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from jaxproxy.runs import Files, LocalFiles, RemoteFiles, Run, StoreError, is_url
from jaxproxy.runs import _remote as remote

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")

MANIFEST = {
    "format": 1,
    "scorer": {"space": "toy", "fidelity": {}, "seeds": [0], "proxies": ["a"]},
    "environment": {"host": "here"},
}


class Faulty:
    """A filesystem of fsspec that fails once in the way it is told to.

    ``before``: nothing was done. ``silent``: it was done, and no answer came.
    ``torn``: half of what replaces a file is seen until it is put again, which buckets
    never show. ``twice``: the request was delivered two times. ``stale``: the next list
    is empty.
    """

    def __init__(self, inner: Any, fault: str) -> None:
        self.inner, self.fault, self.struck = inner, fault, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def pipe_file(self, path: str, data: bytes, mode: str = "overwrite") -> None:
        strikes = "probe-" not in path and not self.struck and self.fault != "stale"
        strikes = strikes and not (self.fault == "torn" and mode == "create")
        self.struck += strikes
        if strikes and self.fault == "torn":
            self.inner.pipe_file(path, data[: len(data) // 2])
        if strikes and self.fault in ("before", "torn"):
            raise TimeoutError("timed out")
        if strikes and self.fault == "twice" and mode == "overwrite":
            self.inner.pipe_file(path, data, mode=mode)
        self.inner.pipe_file(path, data, mode=mode)
        if strikes and self.fault == "silent":
            raise TimeoutError("timed out")

    def ls(self, path: str, detail: bool = True) -> list:
        if self.fault == "stale" and not self.struck:
            self.struck += 1
            raise FileNotFoundError(path)
        return self.inner.ls(path, detail=detail)


@pytest.fixture(scope="module")
def s3() -> Iterator[Callable[[], RemoteFiles]]:
    """Makes roots in moto's S3, which is a server of this process."""
    server = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    running = server.ThreadedMotoServer(port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    options = {"key": "a", "secret": "b", "endpoint_url": f"http://{host}:{port}"}
    fs = fsspec.filesystem("s3", use_listings_cache=False, **options)
    fs.mkdir("bucket")
    yield lambda: RemoteFiles(f"s3://bucket/{uuid.uuid4().hex}", fs)
    running.stop()


FAULTS = ("before", "silent", "torn", "twice", "stale")
KINDS = ("local", "memory", "s3", *(f"memory, {fault}" for fault in FAULTS))


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    kind, _, fault = request.param.partition(", ")
    if kind == "local":
        files = LocalFiles(tmp_path / "run")
        files.make()
        return files
    if kind == "s3":
        return request.getfixturevalue("s3")()
    memory = fsspec.filesystem("memory")
    filesystem = Faulty(memory, fault) if fault else memory
    return RemoteFiles(f"memory://{uuid.uuid4().hex}/run", filesystem)


def content(files: Files, name: str) -> bytes:
    with files.read(name) as stream:
        return stream.read()


pytestmark = [
    # of s3fs and moto, which are not this package's
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def test_what_is_put_is_read(store: Files) -> None:
    assert not store.exists("a")
    with pytest.raises(FileNotFoundError):
        store.read("a")
    store.put("a", b"1")
    store.put("_readings/b", b"2")
    store.put("a", b"three")
    assert (content(store, "a"), content(store, "_readings/b")) == (b"three", b"2")
    assert store.exists("a")
    assert store.exists("_readings/b")
    names = store.names()
    if getattr(getattr(store, "_fs", None), "fault", "") == "stale":
        assert names == []  # what it must be able to live with, once
        names = store.names()
    assert sorted(names) == ["_readings", "a"]
    assert store.names("_readings") == ["b"]


def test_put_if_absent_puts_once(store: Files) -> None:
    assert store.put_if_absent("a", b"1")
    assert not store.put_if_absent("a", b"2")
    assert content(store, "a") == b"1"


def test_of_several_at_once_one_puts(store: Files) -> None:
    """Three times four; each that loses reads what the winner wrote."""
    for name in "abc":
        barrier, wins, seen = threading.Barrier(4), [], []

        def put(i: int, name=name, barrier=barrier, wins=wins, seen=seen) -> None:
            barrier.wait()
            data = str(i).encode()
            if store.put_if_absent(name, data):
                wins.append(data)
            seen.append(content(store, name))

        threads = [threading.Thread(target=put, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(wins) == 1
        assert seen == wins * 4


def table(*index: int) -> pa.Table:
    return pa.table({"index": list(index), "a": [i / 7 for i in index]})


def test_a_run_in_every_store(store: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """A manifest that is not overwritten, parts, readings, and a fault on the way."""
    monkeypatch.setattr(Run, "__init__", lambda run, path: setattr(run, "files", store))
    run = Run.create(store.path, MANIFEST)
    Run.create(store.path, MANIFEST | {"environment": {"host": "there"}})
    assert Run.open(store.path).manifest == MANIFEST
    with pytest.raises(StoreError, match="format is 1 there and 2 here"):
        Run.create(store.path, MANIFEST | {"format": 2})
    run.write_part(1, table(0, 2), table(7))
    run.write_part(0, table(1, 3), table(8))
    assert run.done() == {0, 1}
    assert (run.has_part(1), run.has_part(2)) == (True, False)
    assert run.table() == table(0, 1, 2, 3)
    assert run.readings() == table(8, 7)
    assert run.part(1, ["a"]) == table(0, 2).select(["a"])


def test_every_fault_struck() -> None:
    """Else the tests above would pass for want of any."""
    for fault in FAULTS:
        memory = Faulty(fsspec.filesystem("memory"), fault)
        files = RemoteFiles(f"memory://{uuid.uuid4().hex}", memory)
        assert files.put_if_absent("a", b"1")
        files.put("b", b"2")
        files.names()
        assert memory.struck == 1


def test_a_store_that_overwrites_is_named(caplog: pytest.LogCaptureFixture) -> None:
    class Old(Faulty):
        def pipe_file(self, path: str, data: bytes, mode: str = "overwrite") -> None:
            self.inner.pipe_file(path, data)

    caplog.set_level(logging.WARNING, "jaxproxy")
    memory = fsspec.filesystem("memory")
    files = RemoteFiles("memory://old/run", Old(memory, ""))
    assert files.put_if_absent("a", b"1")
    assert not files.put_if_absent("a", b"2")
    assert "memory://old/run cannot create exclusively" in caplog.text
    assert files.names("_workers") == []  # no probe is left


def test_what_fails_for_good_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Down(Faulty):
        def pipe_file(self, *arguments: Any, **options: Any) -> None:
            self.struck += 1
            raise OSError("service unavailable")

    monkeypatch.setattr(remote.time, "sleep", lambda seconds: None)
    down = Down(fsspec.filesystem("memory"), "")
    files = RemoteFiles("memory://down/run", down)
    with pytest.raises(StoreError, match=r"cannot write memory://down/run/a: service"):
        files.put("a", b"1")
    assert down.struck == 5


def test_which_paths_are_urls(tmp_path: Path) -> None:
    for url in ("s3://bucket/run", "gs://bucket/a/b", "memory://x"):
        assert is_url(url)
        assert is_url(Path(url))  # which has one slash only
    assert str(Run(Path("memory://x/run")).path) == "memory://x/run"
    for path in (tmp_path, "run", "./s3/run", "s3:", "C:/run", "run:1/2"):
        assert not is_url(path)
    assert not is_url(os.fspath(tmp_path / "s3:" / "x"))
    with pytest.raises(ValueError, match="is no URL of a bucket"):
        RemoteFiles("run")
