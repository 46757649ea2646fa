"""Networks, name servers and machines that let a crawl down, made with what Linux has for it.

All of it happens on loopback, most of it in network namespaces of the tests' own.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from command_line import CRAWL, signal_all, spider_file
from conftest import told
from crawler import demo
from crawler.executors import processes
from deadline import wait_until
from instant import MEASURED_AT
from network import REPOSITORY, Network, need, network

PAGE = """
@spider()
def page(response):
    return {"url": response.url, "size": len(response.body)}
"""
GRAPH = """
@spider()
def graph(response):
    yield {"url": response.url, "title": response.css("title::text").get()}
    yield from response.follow_all(css="a")
"""
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")]),
}


@dataclass(frozen=True)
class Outcome:
    """How a crawl ended, and what it left."""

    code: int | None
    said: str
    seconds: float
    stats: dict[str, Any]
    failed: list[dict[str, Any]]
    output: bytes

    @property
    def urls(self) -> list[str]:
        return [item["url"] for item in json.loads(self.output)]


def outcome(process: subprocess.Popen[str], folder: Path, name: str, began: float) -> Outcome:
    _, said = process.communicate(timeout=60)
    stats = max(folder.glob(f"output/runs/{name}/2*/stats.json"), default=None)
    assert stats is not None, said
    output = folder / f"output/{name}.json"
    return Outcome(
        process.returncode,
        said,
        time.monotonic() - began,
        json.loads(stats.read_text()),
        [json.loads(line) for line in stats.with_name("failed.jsonl").read_text().splitlines()],
        output.read_bytes() if output.exists() else b"",
    )


def crawl(net: Network, folder: Path, urls: list[str], *options: str) -> Outcome:
    """A crawl of these pages in that network, to its end."""
    spider_file(folder / "page.py", PAGE)
    (folder / "urls.txt").write_text("\n".join(urls))
    began = time.monotonic()
    command = [*CRAWL, "run", "page.py", "--urls", "urls.txt", *options]
    return outcome(net.start(*command, cwd=folder), folder, "page", began)


@pytest.fixture
def net() -> Iterator[Network]:
    with network() as made:
        yield made


# ---- Links ----


def test_f20_one_packet_in_five_is_lost(net: Network, tmp_path: Path) -> None:
    need("nft")
    with net.site() as port:
        net.nft("meta l4proto tcp numgen random mod 100 < 20 drop")
        urls = [f"http://127.0.0.1:{port}/empty?{number}" for number in range(200)]
        found = crawl(net, tmp_path, urls, "-j", "32", "--timeout", "10")
    assert found.code == 0, found.said
    assert found.urls == urls
    told.append(
        f"20 % of packets lost: 200 pages in {found.seconds:.1f} s, "
        f"{found.stats['retries']} retries"
    )


def test_f21_a_slow_link_fails_nothing(net: Network, tmp_path: Path) -> None:
    """64 KB a second for all, so that each page is slow; within the time of one page."""
    need("tc")
    with net.site() as port:
        net.run("ip link set lo mtu 1500")  # a packet must fit into the bucket
        net.run("tc qdisc add dev lo root tbf rate 512kbit burst 6k latency 2s")
        pages = [f"graph/{number}/1000/page/0?links=1000" for number in range(3)]
        urls = [f"http://127.0.0.1:{port}/{page}" for page in pages]
        found = crawl(net, tmp_path, urls, "-j", "4", "--timeout", "20")
    assert found.code == 0, found.said
    assert found.urls == urls
    assert found.stats["retries"] == 0
    size = found.stats["body_bytes"]
    assert size > 200_000
    assert found.seconds > size / 64_000
    told.append(f"64 KB a second: {size / 1000:.0f} KB in {found.seconds:.1f} s, no retries")


DEAD = {
    "127.1.0.1": ("connection", "Connection refused"),
    "127.1.0.2": ("connection", "No route to host"),
    "127.1.0.3": ("connection", "Permission denied"),  # EACCES: a route that is prohibited
    "127.1.0.4": ("connection", "Invalid argument"),  # EINVAL: a route into a black hole
    "127.1.0.5": ("timeout", "no connection after 1 s"),
}


def test_f23_hosts_that_are_down_in_all_ways_cost_their_own_pages(
    net: Network, tmp_path: Path
) -> None:
    need("nft")
    with net.site() as port:
        net.nft(
            "ip daddr 127.1.0.1 tcp dport != 0 reject with tcp reset", "ip daddr 127.1.0.5 drop"
        )
        net.run("ip route add unreachable 127.1.0.2 table local")
        net.run("ip route add prohibit 127.1.0.3 table local")
        net.run("ip route add blackhole 127.1.0.4 table local")
        hosts = [*DEAD, *(f"127.0.0.{number}" for number in range(2, 47))]
        urls = [f"http://{host}:{port}/empty?{number}" for number in range(3) for host in hosts]
        options = ["--timeout", "1", "--retries", "1", "--ignore-robots", "--per-host", "2"]
        found = crawl(net, tmp_path, urls, *options)
    assert found.code == 3, found.said
    assert found.urls == [url for url in urls if "//127.0." in url]
    assert len(found.failed) == 3 * len(DEAD)
    for failure in found.failed:
        kind, message = DEAD[failure["url"].split("/")[2].partition(":")[0]]
        assert (failure["kind"], failure["attempts"]) == (kind, 2)
        assert message in failure["message"]
    told.append(f"five of fifty hosts down: 150 pages in {found.seconds:.1f} s")


def test_f23_a_host_that_is_down_before_its_robots_txt(net: Network, tmp_path: Path) -> None:
    with net.site() as port:
        net.run("ip route add unreachable 127.1.0.2 table local")
        urls = [f"http://{host}:{port}/empty" for host in ("127.1.0.2", "127.0.0.2")]
        found = crawl(net, tmp_path, urls)
    assert found.code == 3
    assert found.urls == urls[1:]
    assert [failure["kind"] for failure in found.failed] == ["robots-unreachable"]


def test_f24_the_network_is_down_for_five_seconds(net: Network, tmp_path: Path) -> None:
    """What is on its way then is lost, and nothing can be reached."""
    spider_file(tmp_path / "graph.py", GRAPH)
    modes = ["processes", "threads"]
    with net.site("--jitter", "0.1") as port:
        url = f"http://127.0.0.1:{port}/graph/3/300/page/0?links=2"
        command = [*CRAWL, "run", "graph.py", "--urls", url, "--timeout", "1", "--name"]
        began = time.monotonic()
        undisturbed = net.start(*command, "undisturbed", cwd=tmp_path)
        expected = outcome(undisturbed, tmp_path, "undisturbed", began)
        began = time.monotonic()
        crawls = {}
        for mode in modes:
            crawls[mode] = net.start(*command, mode, "--mode", mode, cwd=tmp_path)
            at_work(tmp_path / "output/runs" / mode)
            signal_all(crawls[mode], signal.SIGSTOP)  # or one is done when the other begins
        net.run("ip link set lo down")
        for process in crawls.values():
            signal_all(process, signal.SIGCONT)
        time.sleep(5.0)
        net.run("ip link set lo up")
        ended = {mode: outcome(crawls[mode], tmp_path, mode, began) for mode in modes}
    assert any(found.stats["retries"] for found in ended.values())
    for mode, found in ended.items():
        assert found.code == 0, found.said
        assert found.output == expected.output
        told.append(
            f"network down for 5 s, {mode}: {found.seconds:.1f} s instead of "
            f"{expected.seconds:.1f}, {found.stats['retries']} retries, no page lost"
        )


def at_work(runs: Path, *, size: int = 1_000) -> None:
    """Wait until something is committed."""
    wait_until(lambda: [f for f in runs.glob("2*/items.jsonl") if f.stat().st_size > size])


# ---- Names ----


@contextmanager
def names(net: Network, folder: Path) -> Iterator[None]:
    """A name server of the test's own is the only one in that network."""
    (folder / "resolv.conf").write_text(
        "nameserver 127.0.0.53\noptions timeout:1 attempts:1\n", encoding="ascii"
    )
    (folder / "nsswitch.conf").write_text("hosts: files dns\n", encoding="ascii")
    for name in ("resolv.conf", "nsswitch.conf"):
        net.run(f"mount --bind {folder / name} {Path('/etc', name).resolve()}")
    program = str(REPOSITORY / "tests" / "name_server.py")
    server = net.start(sys.executable, program, "127.0.0.53")
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n", server.communicate()
        yield
    finally:
        server.kill()
        server.communicate()


def test_f25_names(net: Network, tmp_path: Path) -> None:
    """What is no name, what a name server can't tell or tells late, and names of many addresses."""
    need("mount")
    hosts = ["good.test", "nx.test", "broken.test", "silent.test", "slow.test", "many.test"]
    with names(net, tmp_path), net.site(host="127.0.0.1") as port:
        urls = [f"http://{host}:{port}/empty?{n}" for n in range(2) for host in hosts]
        found = crawl(
            net, tmp_path, urls, "--ignore-robots", "--timeout", "5", "-j", "12", "--retries", "1"
        )
    assert found.code == 3, found.said
    assert found.urls == [url for url in urls if re.search("good|slow|many", url)]
    for failure in found.failed:
        tries = 1 if "nx" in failure["url"] else 2
        assert (failure["kind"], failure["attempts"]) == ("dns", tries), failure
    told.append(f"names of six kinds: 12 pages in {found.seconds:.1f} s")


def test_f24_f25_a_name_server_that_is_away_for_a_while(net: Network, tmp_path: Path) -> None:
    """The site answered before, so its pages wait until its name has an address again."""
    need("mount", "nft")
    spider_file(tmp_path / "graph.py", GRAPH)
    with names(net, tmp_path), net.site("--jitter", "0.1", host="127.0.0.1") as port:
        url = f"http://good.test:{port}/graph/3/400/page/0?links=2"
        began = time.monotonic()
        command = [*CRAWL, "run", "graph.py", "--urls", url, "--timeout", "1"]
        process = net.start(*command, cwd=tmp_path)
        at_work(tmp_path / "output/runs/graph")
        net.nft(f"tcp dport {port} reject with tcp reset", "udp dport 53 drop")
        time.sleep(3.0)
        net.run("nft delete table inet test")
        found = outcome(process, tmp_path, "graph", began)
    assert found.code == 0, found.said
    assert len(found.urls) == 400
    assert "can't be reached any more (gaierror" in found.said
    assert "answers again" in found.said


# ---- The machine ----


@contextmanager
def many_hosts() -> Iterator[list[str]]:
    """The practice site under 500 names."""
    if sys.platform != "linux":
        pytest.skip("only Linux answers at all of 127.x.y.z")
    with demo.start(port=0, host="0.0.0.0") as site:
        port = site.url.rpartition(":")[2]
        yield [f"http://127.2.{n // 200}.{n % 200 + 1}:{port}/empty" for n in range(500)]


def limited(what: str, folder: Path, *command: str) -> Outcome:
    """A crawl under a limit of the shell's `ulimit`."""
    began = time.monotonic()
    process = subprocess.Popen(
        ["sh", "-c", f'ulimit {what} && exec "$@"', "sh", *CRAWL, "run", *command],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    return outcome(process, folder, Path(command[0]).stem, began)


@pytest.mark.parametrize("mode", ["sequential", "threads", "processes", "async"])
def test_f16_64_open_files_are_enough_for_500_hosts(tmp_path: Path, mode: str) -> None:
    """Connections are kept, but not more than there is room for."""
    spider_file(tmp_path / "page.py", PAGE)
    with many_hosts() as urls:
        (tmp_path / "urls.txt").write_text("\n".join(urls))
        options = ["--urls", "urls.txt", "--ignore-robots", "--mode", mode]
        found = limited("-n 64", tmp_path, "page.py", *options)
    assert found.code == 0, found.said
    assert found.urls == urls
    assert found.stats["retries"] == 0
    told.append(f"64 open files, 500 hosts, {mode}: {found.seconds:.1f} s, no retries")


def test_f16_too_few_open_files_are_refused_by_name(tmp_path: Path) -> None:
    spider_file(tmp_path / "page.py", PAGE)
    command = [*CRAWL, "run", "page.py", "--urls", "http://127.0.0.1:9/", "-j", "200"]
    done = subprocess.run(
        ["sh", "-c", 'ulimit -n 64 && exec "$@"', "sh", *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "ulimit -n" in done.stderr
    assert "only 64 are allowed" in done.stderr


def test_f16_a_soft_limit_is_raised_if_it_must_be(tmp_path: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 < hard < 300:
        pytest.skip(f"only {hard} open files are allowed here")
    spider_file(tmp_path / "page.py", PAGE)
    with demo.start(port=0) as site:
        options = ["--urls", f"{site.url}/empty?{{1..99}}", "-j", "200"]
        found = limited("-Sn 64", tmp_path, "page.py", *options)
    assert found.code == 0, found.said
    assert len(found.urls) == 99


def test_f15_a_page_that_wants_too_much_memory_fails_by_itself(tmp_path: Path) -> None:
    spider_file(
        tmp_path / "bomb.py",
        """
@spider()
def bomb(response):
    if response.url.endswith("?5"):
        bytearray(16 * 2**30)
    return {"url": response.url}
""",
    )
    with demo.start(port=0) as site:
        options = ["--urls", f"{site.url}/empty?{{0..9}}", "--mode", "threads", "-j", "4"]
        found = limited("-v 2000000", tmp_path, "bomb.py", *options)
    assert found.code == 3, found.said
    assert len(found.urls) == 9
    (failure,) = found.failed
    assert failure["url"].endswith("?5")
    assert "MemoryError" in failure["message"]


def test_f14_memory_does_not_grow_with_the_pages(tmp_path: Path) -> None:
    """All pages are there at once, so this is what the crawl itself keeps of each."""
    if sys.platform != "linux":
        pytest.skip("memory is read from /proc")
    spider_file(tmp_path / "page.py", PAGE)
    (tmp_path / "urls.txt").write_text("\n".join(f"http://x.test/{n}" for n in range(60_001)))
    options = ["--urls", "urls.txt", "--ignore-robots", "--mode", "instant:InstantExecutor"]
    found = limited("-c 0", tmp_path, "page.py", *options)
    assert found.code == 0, found.said
    first, last = map(int, (tmp_path / "memory.txt").read_text().split())
    slope = (last - first) / (MEASURED_AT[1] - MEASURED_AT[0])
    told.append(f"memory: {slope:.0f} bytes a page, {last / 1e6:.0f} MB at 60,000")
    assert slope < 1024


def test_f17_nothing_is_forked_from_a_process_with_threads(tmp_path: Path) -> None:
    assert processes._METHOD in ("forkserver", "spawn")
    spider_file(tmp_path / "page.py", PAGE)
    (tmp_path / "script.py").write_text(
        """
import sys, threading
import crawler

if __name__ == "__main__":
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    urls = [f"{sys.argv[1]}/empty?{number}" for number in range(20)]
    print(crawler.run("page.py", urls=urls, mode="processes", workers=2).stats.pages)
"""
    )
    with demo.start(port=0) as site:
        done = subprocess.run(
            [sys.executable, "-W", "error::DeprecationWarning", "script.py", site.url],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            env=ENVIRONMENT,
            timeout=60,
        )
    assert (done.stdout, done.stderr) == ("20\n", "")


def test_f19_the_run_folder_may_be_on_an_overlay(tmp_path: Path) -> None:
    """As in a container."""
    need("mount", "umount")
    layers, output = tmp_path / "layers", tmp_path / "output"
    for folder in (layers, output):
        folder.mkdir()
    mounted(layers, "-t", "tmpfs", "tmpfs")
    try:
        for name in ("lower", "upper", "work"):
            (layers / name).mkdir()
        places = f"lowerdir={layers}/lower,upperdir={layers}/upper,workdir={layers}/work"
        mounted(output, "-t", "overlay", "-o", places, "overlay")
        try:
            spider_file(tmp_path / "page.py", PAGE)
            with demo.start(port=0) as site:
                options = ["--urls", f"{site.url}/empty?{{0..49}}", "--max-seconds", "60"]
                found = limited("-c 0", tmp_path, "page.py", *options)
            assert found.code == 0, found.said
            assert len(found.urls) == 50
        finally:
            subprocess.run(["umount", str(output)], check=True)
    finally:
        subprocess.run(["umount", str(layers)], check=True)


def mounted(folder: Path, *how: str) -> None:
    done = subprocess.run(["mount", *how, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")


def test_f27_a_machine_that_sleeps_for_five_seconds(tmp_path: Path) -> None:
    """The crawls and their workers stop in the middle of everything, and all time-outs pass."""
    spider_file(tmp_path / "graph.py", GRAPH)
    counts = {"processes": 200, "sequential": 60, "threads": 200}
    with demo.start(port=0, jitter=0.1) as site:
        url = f"{site.url}/graph/3/{{}}/page/0?links=2"
        command = [*CRAWL, "run", "graph.py", "--timeout", "2", "--urls"]
        began = time.monotonic()
        crawls = {}
        for count in set(counts.values()):
            undisturbed = [*command, url.format(count), "--name", f"undisturbed-{count}"]
            subprocess.run([*undisturbed, "-j", "16"], cwd=tmp_path, check=True)
        for mode, count in counts.items():
            crawls[mode] = subprocess.Popen(
                [*command, url.format(count), "--name", mode, "--mode", mode],
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                process_group=0,
            )
            at_work(tmp_path / "output/runs" / mode, size=500)
            signal_all(crawls[mode], signal.SIGSTOP)
        time.sleep(5.0)
        assert all(process.poll() is None for process in crawls.values())
        for process in crawls.values():
            signal_all(process, signal.SIGCONT)
        found = {mode: outcome(process, tmp_path, mode, began) for mode, process in crawls.items()}
    for mode, each in found.items():
        assert each.code == 0, each.said
        expected = tmp_path / "output" / f"undisturbed-{counts[mode]}.json"
        assert each.output == expected.read_bytes()
        told.append(f"asleep for 5 s, {mode}: {each.stats['retries']} retries, the same bytes")
