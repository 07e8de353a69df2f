# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""MovieLens by either route, and every way in which fetching it can fail."""

import contextlib
import hashlib
import http.server
import io
import logging
import os
import pathlib
import threading
import zipfile
from collections.abc import Iterator
from concurrent import futures

import pytest

from components.tfds_example_gen import movielens, tfds_data
from serving.errors import UserError

INTERACTIONS = """user_id:token\titem_id:token\trating:float\ttimestamp:float
2\t267\t3\t881250949
1\t1412\t5\t891717742
2\t3\t1\t878887116
"""
ITEMS = """item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq
3\tMisérables, Les\t1995\tDrama Musical
267\tunkonwn\tunkonwn\tunknown
1201\tMarlene Dietrich: Shadow and Light\t1996\tDocumentary
1412\tLand Before Time III: The Time of the Great Giving (1995)\tV\tAnimation Children's
"""
USERS = """user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token
1\t24\tM\ttechnician\t85711
2\t53\tF\tother\tT8H1N
"""
U_DATA = "2\t267\t3\t881250949\n1\t1412\t5\t891717742\n2\t3\t1\t878887116\n"
U_USER = "1|24|M|technician|85711\n2|53|F|other|T8H1N\n"
U_ITEM = (
    "3|Misérables, Les (1995)||||0|0|0|0|0|0|0|0|1|0|0|0|1|0|0|0|0|0|0\n"
    "267|unknown||||1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
    "1201|Marlene Dietrich: Shadow and Light (1996) "
    "||||0|0|0|0|0|0|0|1|0|0|0|0|0|0|0|0|0|0|0\n"
    "1412|Land Before Time III: The Time of the Great Giving (1995) (V)"
    "||||0|0|0|1|1|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
)


def _wheel(path: pathlib.Path, items: str = ITEMS) -> str:
    folder = "recbole/dataset_example/ml-100k/ml-100k"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, text in (("inter", INTERACTIONS), ("item", items), ("user", USERS)):
            wheel.writestr(f"{folder}.{name}", text.encode("utf-8"))
    return str(path)


def _assert_one_sentence(error: UserError) -> None:
    assert "\n" not in str(error)
    assert len(str(error)) < 400


# The files of the original, written again.


def test_files_of_the_original_are_written_again(tmp_path):
    movielens.rebuild_files(_wheel(tmp_path / "w.whl"), str(tmp_path))
    for name, expected in (("u.data", U_DATA), ("u.item", U_ITEM), ("u.user", U_USER)):
        assert (tmp_path / name).read_bytes() == expected.encode("latin-1"), name


def test_tfds_reads_the_files_as_its_own(tmp_path):
    from tensorflow_datasets.structured import movielens_parsing

    movielens.rebuild_files(_wheel(tmp_path / "w.whl"), str(tmp_path))
    movies = [row for _, row in movielens_parsing.parse_100k_movies_data(str(tmp_path))]
    assert [movie["movie_title"] for movie in movies[:2]] == [
        "Misérables, Les (1995)",
        "unknown",
    ]
    assert movies[0]["movie_genres"] == ["Drama", "Musical"]
    assert movies[1]["movie_genres"] == ["Unknown"]
    assert movies[3]["movie_genres"] == ["Animation", "Children"]
    ratings = list(movielens_parsing.parse_100k_ratings_data(str(tmp_path)))
    assert [row["user_id"] for _, row in ratings] == ["2", "1", "2"]
    assert ratings[0][1]["bucketized_user_age"] == 50
    assert ratings[0][1]["user_gender"] is False
    assert ratings[1][1]["user_zip_code"] == "85711"


def _cut_short(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _flip_the_middle(data: bytes) -> bytes:
    # Inside the compressed table of interactions, the first member.
    return data[:100] + bytes([data[100] ^ 0xFF]) + data[101:]


@pytest.mark.parametrize("damage", [_cut_short, _flip_the_middle, lambda data: b""])
def test_a_damaged_wheel_is_one_sentence(tmp_path, damage):
    path = tmp_path / "w.whl"
    _wheel(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match="damaged.*delete it and run again") as caught:
        movielens.rebuild_files(str(path), str(tmp_path))
    _assert_one_sentence(caught.value)


def test_a_wheel_without_the_data_is_one_sentence(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.whl", "w") as wheel:
        wheel.writestr("recbole/__init__.py", "")
    with pytest.raises(UserError, match=r"ml-100k\.inter") as caught:
        movielens.rebuild_files(str(tmp_path / "w.whl"), str(tmp_path))
    _assert_one_sentence(caught.value)


def test_an_unknown_genre_is_named(tmp_path):
    wheel = _wheel(tmp_path / "w.whl", ITEMS.replace("Musical", "Opera"))
    with pytest.raises(UserError, match="item 3 has the unknown genre 'Opera'"):
        movielens.rebuild_files(wheel, str(tmp_path))


# The wheel through pip.


def test_no_network_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(
        UserError, match=r"recbole==1\.2\.1.*check the network"
    ) as caught:
        movielens.download_wheel(str(tmp_path))
    _assert_one_sentence(caught.value)


def test_another_wheel_of_the_same_name_is_refused(tmp_path, monkeypatch):
    links = tmp_path / "links"
    links.mkdir()
    path = links / "recbole-1.2.1-py3-none-any.whl"
    _wheel(path)
    with zipfile.ZipFile(path, "a") as wheel:
        metadata = "Metadata-Version: 2.1\nName: recbole\nVersion: 1.2.1\n"
        wheel.writestr("recbole-1.2.1.dist-info/METADATA", metadata)
        wheel.writestr("recbole-1.2.1.dist-info/WHEEL", "Wheel-Version: 1.0\n")
        wheel.writestr("recbole-1.2.1.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    (tmp_path / "to").mkdir()
    with pytest.raises(UserError, match="SHA-256 is not the expected one"):
        movielens.download_wheel(str(tmp_path / "to"))


# The download that TFDS does itself, from a server of this test.


@contextlib.contextmanager
def _server(body: bytes, announced: int | None = None) -> Iterator[str]:
    """Serves `body` at every path, announced as of another length if wanted."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200)
            self.send_header("Content-Length", str(announced or len(body)))
            self.end_headers()

        def do_GET(self):
            self.do_HEAD()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/ml-100k.zip"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def download_from(monkeypatch):
    """Has TFDS's MovieLens builder download from another address, and no wheel."""
    import tensorflow_datasets as tfds

    monkeypatch.setenv("PIP_NO_INDEX", "1")
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)

    def change(url: str) -> None:
        for config in tfds.builder_cls("movielens").BUILDER_CONFIGS:
            monkeypatch.setattr(config, "_download_url", url)

    return change


def _archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in (("u.data", U_DATA), ("u.item", U_ITEM), ("u.user", U_USER)):
            archive.writestr(f"ml-100k/{name}", text.encode("latin-1"))
    return buffer.getvalue()


def test_the_first_route_is_tfds_own_download(tmp_path, download_from, caplog, capsys):
    caplog.set_level(logging.WARNING)  # of all others: not verbose
    caplog.set_level(logging.INFO, logger=tfds_data.__name__)
    with _server(_archive()) as url:
        download_from(url)
        builder = tfds_data.prepare("movielens/100k-ratings", str(tmp_path))
    assert builder.info.splits["train"].num_examples == 3
    assert "prepared from its own download in" in caplog.text
    output = capsys.readouterr()
    assert output.out == ""
    assert "Generating" not in output.err  # no progress bars unless verbose


def test_two_that_prepare_at_once_have_the_same_dataset(
    tmp_path, download_from, monkeypatch
):
    # Both have seen that it is missing when either begins.
    both, answers = threading.Barrier(2), movielens.host_answers
    met: set[int] = set()

    def answers_to_both(name: str) -> bool:
        if threading.get_ident() not in met:
            met.add(threading.get_ident())
            both.wait(60)
        return answers(name)

    monkeypatch.setattr(movielens, "host_answers", answers_to_both)
    with _server(_archive()) as url, futures.ThreadPoolExecutor() as pool:
        download_from(url)
        preparing = [
            pool.submit(tfds_data.prepare, "movielens/100k-ratings", str(tmp_path))
            for _ in range(2)
        ]
        builders = [one.result() for one in preparing]
    for builder in builders:
        assert builder.info.splits["train"].num_examples == 3


def test_an_interrupted_download_is_told_and_the_wheel_tried(
    tmp_path, download_from, caplog
):
    caplog.set_level(logging.WARNING, logger=tfds_data.__name__)
    archive = _archive()
    with _server(archive[:200], announced=len(archive)) as url:
        download_from(url)
        with pytest.raises(UserError, match="recbole.*check the network") as caught:
            tfds_data.prepare("movielens/100k-movies", str(tmp_path))
    _assert_one_sentence(caught.value)
    # urllib3 2 misses the rest, of urllib3 1 the archive's own check does.
    assert (
        "download of movielens/100k-movies/0.1.1 failed" in caplog.text
        or "an archive of movielens/100k-movies/0.1.1 is corrupt" in caplog.text
    )
    assert not tfds_data.find_builder(
        "movielens/100k-movies", str(tmp_path)
    ).is_prepared()


def test_a_corrupt_archive_is_told_and_the_wheel_tried(tmp_path, download_from, caplog):
    caplog.set_level(logging.WARNING, logger=tfds_data.__name__)
    with _server(b"this is no zip file") as url:
        download_from(url)
        with pytest.raises(UserError, match="recbole.*check the network"):
            tfds_data.prepare("movielens/100k-movies", str(tmp_path))
    assert "archive of movielens/100k-movies/0.1.1 is corrupt" in caplog.text


def test_a_corrupt_archive_without_a_second_route_is_one_sentence(
    tmp_path, download_from
):
    with _server(b"this is no zip file") as url:
        download_from(url)
        with pytest.raises(UserError, match="corrupt: delete the folder") as caught:
            tfds_data.prepare("movielens/latest-small-movies", str(tmp_path))
    _assert_one_sentence(caught.value)


def test_a_host_that_is_not_there_is_noticed_at_once(download_from):
    with _server(b"") as url:
        pass
    download_from(url)
    assert not movielens.host_answers("movielens/100k-ratings")


# Names and folders.


@pytest.mark.parametrize(
    ("dataset", "sentence"),
    [
        (
            "moovielens/100k-ratings",
            "no dataset 'moovielens': did you mean 'movielens'",
        ),
        (
            "movielens/100k-rating",
            "no config '100k-rating', did you mean '100k-ratings'",
        ),
        ("movielens/100k-ratings:9.9.9", r"leave out the version or take 0\.1\.1"),
        ("a b", "give a name like movielens/100k-ratings"),
        ("", "give a name like movielens/100k-ratings"),
    ],
)
def test_unknown_names_get_their_nearest(tmp_path, dataset, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        tfds_data.prepare(dataset, str(tmp_path))
    _assert_one_sentence(caught.value)
    assert os.listdir(tmp_path) == []


def test_a_data_folder_that_is_a_file_is_one_sentence(tmp_path, download_from):
    file = tmp_path / "data"
    file.write_text("")
    with _server(_archive()) as url:
        download_from(url)
        with pytest.raises(UserError, match="cannot take the dataset") as caught:
            tfds_data.prepare("movielens/100k-movies", str(file))
    _assert_one_sentence(caught.value)
    assert str(file) in str(caught.value)


def test_a_half_emptied_dataset_is_not_taken_for_whole(tmp_path, download_from):
    with _server(_archive()) as url:
        download_from(url)
        builder = tfds_data.prepare("movielens/100k-movies", str(tmp_path))
        pathlib.Path(builder.data_dir, "dataset_info.json").unlink()
        with pytest.raises(UserError, match="not a whole dataset: delete") as caught:
            tfds_data.prepare("movielens/100k-movies", str(tmp_path))
    _assert_one_sentence(caught.value)


def test_a_prepared_dataset_needs_no_network(tmp_path, download_from):
    with _server(_archive()) as url:
        download_from(url)
        tfds_data.prepare("movielens/100k-movies", str(tmp_path))
    before = _digests(tmp_path)
    builder = tfds_data.prepare(
        "movielens/100k-movies", str(tmp_path)
    )  # server is gone
    assert builder.info.splits["train"].num_examples == 4
    assert _digests(tmp_path) == before


def _digests(folder: pathlib.Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_old_leftovers_go_and_fresh_ones_stay(tmp_path, download_from):
    parent = tmp_path / "movielens" / "100k-movies"
    old, fresh = parent / "incomplete.AAAAAA_0.1.1", parent / "incomplete.BBBBBB_0.1.1"
    for folder in (old, fresh):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))
    with _server(_archive()) as url:
        download_from(url)
        tfds_data.prepare("movielens/100k-movies", str(tmp_path))
    assert not old.exists()
    assert fresh.exists()
