"""The server: a fixed table of addresses, for this machine alone."""

import http.client
import socket
from urllib.parse import urlsplit

import pytest

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.web.server import SiteServer, is_loopback
from pvae_zoo.web.site import make_site


@pytest.fixture
def site(page, gates):
    return make_site([gates.bundle], page)


def ask(url, path, method="GET", host=None):
    """(status, headers, body) of a request, the path sent as it is."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    try:
        connection.putrequest(method, path, skip_host=True)
        connection.putheader("Host", host or urlsplit(url).netloc)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/index.html?seed=3", "text/html; charset=utf-8"),
        ("/assets/index.js", "text/javascript; charset=utf-8"),
        ("/assets/ort.wasm", "application/wasm"),
        ("/bundles/index.json", "application/json"),
        ("/bundles/tiny/encoder.onnx", "application/octet-stream"),
    ],
)
def test_everything_of_the_site_is_there(served, site, path, kind):
    with served(site) as url:
        status, headers, body = ask(url, path)
        assert (status, headers["Content-Type"], headers["X-Content-Type-Options"]) == (200, kind, "nosniff")
        assert body == site.read(path.split("?")[0].lstrip("/") or "index.html")
        status, headers, nothing = ask(url, path, "HEAD")
        assert (status, headers["Content-Length"], nothing) == (200, str(len(body)), b"")


@pytest.mark.parametrize(
    "path",
    [
        "/bundles/tiny/golden.npz", "/bundles/", "/..", "/../../../../etc/passwd", "//etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/bundles/tiny/..%2f..%2findex.html", "/bundles/tiny/../../index.html", "/%00", "/index.html%00", "http://x/etc/passwd",
    ],
)  # fmt: skip
def test_nothing_else_is(served, site, path):
    with served(site) as url:
        assert ask(url, path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_it_is_only_read(served, site, method):
    with served(site) as url:
        assert ask(url, "/", method)[0] == 501


def test_another_name_that_points_here_is_refused(served, site):
    with served(site) as url:
        port = urlsplit(url).port
        assert ask(url, "/", host=f"evil.example:{port}")[0] == 403
        assert ask(url, "/", host=f"127.0.0.1.evil.example:{port}")[0] == 403
        for host in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}"):
            assert ask(url, "/", host=host)[0] == 200


def test_a_file_that_has_gone_is_not_found(served, site, page):
    with served(site) as url:
        (page / "assets" / "index.js").unlink()
        assert ask(url, "/assets/index.js")[0] == 404


def test_a_reader_that_leaves_is_no_news(served, site, capfd):
    with served(site) as url:
        with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port)) as reader:
            reader.sendall(b"GET /bundles/tiny/decoder.onnx HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert ask(url, "/")[0] == 200
    assert capfd.readouterr() == ("", "")


def test_a_port_that_is_taken(site):
    with SiteServer(site, "127.0.0.1", 0) as server:
        port = server.server_address[1]
        with pytest.raises(PvaeZooError, match=f"port {port} is taken: choose another with --port"):
            SiteServer(site, "127.0.0.1", port)


def test_a_host_that_is_not_here(site):
    with pytest.raises(PvaeZooError, match=r"cannot listen on 203\.0\.113\.7:8017"):
        SiteServer(site, "203.0.113.7", 8017)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("192.168.0.9", False), ("localhost.evil.example", False), ("", False)],
)  # fmt: skip
def test_what_is_this_machine_alone(host, expected):
    assert is_loopback(host) is expected
