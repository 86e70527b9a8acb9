#!/usr/bin/env python3
"""Tests of the scripts in this folder: interrupted or damaged downloads, and machines with missing programs."""

import contextlib
import hashlib
import http.server
import importlib.machinery
import importlib.util
import io
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
import unittest
import unittest.mock
import zipfile
from pathlib import Path

TOOLS = Path(__file__).resolve().parent


def wheel_bytes():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("thing/lib/data.bin", bytes(range(256)) * 12000)
        archive.writestr("thing/doc/unwanted.txt", "not asked for")
    return buffer.getvalue()


class Index(http.server.BaseHTTPRequestHandler):
    """A package index with one wheel. `cut` makes the first replies end early; `corrupt` changes a byte."""

    wheel, name, cut, corrupt, ranges = b"", "", 0, False, []

    def do_GET(self):
        if self.path == "/thing/":
            body = f'<a href="/files/{self.name}#sha256=0">{self.name}</a>'.encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        body = self.wheel if not Index.corrupt else self.wheel[:-1] + b"?"
        start = 0
        if wanted := self.headers.get("Range"):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        Index.ranges.append(start)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        end = len(body)
        if Index.cut:
            Index.cut -= 1
            end = start + (len(body) - start) // 2
        self.wfile.write(body[start:end])

    def log_message(self, *arguments):
        pass


class FetchWheels(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name)
        Index.wheel, Index.name = wheel_bytes(), "thing-1.0-py3-none-any.whl"
        Index.cut, Index.corrupt, Index.ranges = 0, False, []
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.pins = self.root / "pins.txt"
        self.pins.write_text(f"{Index.name} {hashlib.sha256(Index.wheel).hexdigest()} thing/lib\n")
        self.into = self.root / "into"

    def tearDown(self):
        self.server.shutdown()
        self.server.server_close()
        self.folder.cleanup()

    def fetch(self):
        environment = dict(os.environ, HOME=str(self.root), PIP_INDEX_URL=f"http://127.0.0.1:{self.server.server_port}")
        environment.pop("PIP_EXTRA_INDEX_URL", None)
        environment["no_proxy"] = "127.0.0.1"
        command = [TOOLS / "fetch-wheels", "--pins", self.pins, "--into", self.into]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)

    def test_unpacks_the_requested_folders_and_does_nothing_twice(self):
        self.assertEqual(self.fetch().returncode, 0)
        self.assertEqual((self.into / "thing/lib/data.bin").stat().st_size, 256 * 12000)
        self.assertFalse((self.into / "thing/doc").exists())
        self.assertEqual(self.fetch().returncode, 0)
        self.assertEqual(len(Index.ranges), 1)

    def test_resumes_an_interrupted_download(self):
        Index.cut = 2
        result = self.fetch()
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(len(Index.ranges), 3)
        self.assertEqual(Index.ranges[0], 0)
        self.assertLess(0, Index.ranges[1])
        self.assertLess(Index.ranges[1], Index.ranges[2])
        self.assertEqual((self.into / "thing/lib/data.bin").read_bytes(), bytes(range(256)) * 12000)

    def test_refuses_a_wrong_digest_and_keeps_nothing_of_it(self):
        Index.corrupt = True
        result = self.fetch()
        self.assertEqual(result.returncode, 1)
        self.assertIn("expected sha256", result.stderr)
        self.assertFalse(self.into.exists())
        Index.corrupt = False
        self.assertEqual(self.fetch().returncode, 0)

    def test_fetches_again_what_was_damaged_in_the_cache(self):
        self.assertEqual(self.fetch().returncode, 0)
        cached = self.root / ".cache/smpo/wheels" / Index.name
        cached.write_bytes(b"damaged")
        (self.into / ".pins").unlink()
        self.assertEqual(self.fetch().returncode, 0)
        self.assertEqual(len(Index.ranges), 2)

    def test_names_a_wheel_that_the_index_does_not_have(self):
        self.pins.write_text(f"thing-2.0-py3-none-any.whl {'0' * 64}\n")
        result = self.fetch()
        self.assertEqual(result.returncode, 1)
        self.assertIn("does not list thing-2.0-py3-none-any.whl", result.stderr)

    def test_names_the_wrong_line_of_the_pins(self):
        self.pins.write_text("# fine\nthing-1.0-py3-none-any.whl short\n")
        result = self.fetch()
        self.assertEqual(result.returncode, 1)
        self.assertIn("pins.txt:2: expected", result.stderr)


class Lock(unittest.TestCase):
    """Set-ups and builds of one checkout take turns."""

    def test_two_do_not_overlap_and_a_program_left_running_does_not_keep_the_lock(self):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            (root / "tools").mkdir()
            (root / "tools/common.sh").write_bytes((TOOLS / "common.sh").read_bytes())
            script = root / "tools/turn"
            script.write_text("source tools/common.sh\nturn() { echo in; sleep 0.3; echo out; sleep 30 >/dev/null 2>&1 & }\nlocked turn >>log\n")
            started = time.monotonic()
            both = [subprocess.Popen(["bash", script], cwd=root, stderr=subprocess.PIPE, text=True) for _ in range(2)]
            said = "".join(each.communicate(timeout=60)[1] for each in both)
            self.assertLess(time.monotonic() - started, 20)
            self.assertEqual((root / "log").read_text().split(), ["in", "out", "in", "out"])
            self.assertIn("waiting for another set-up or build", said)


class SupplyChain(unittest.TestCase):
    """Jars that are not those that were pinned."""

    def test_a_changed_jar_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            jar = root / "repository/org/thing/thing/1.0/thing-1.0.jar"
            jar.parent.mkdir(parents=True)
            jar.write_bytes(b"sound")
            pins = root / "pins.txt"
            pins.write_text(f"{hashlib.sha256(b'sound').hexdigest()}  org/thing/thing/1.0/thing-1.0.jar\n")
            loader = importlib.machinery.SourceFileLoader("supply_chain", str(TOOLS / "supply-chain"))
            module = importlib.util.module_from_spec(importlib.util.spec_from_loader("supply_chain", loader))
            loader.exec_module(module)
            module.LIBRARIES = root / "none"
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
                self.assertFalse(module.check(root / "repository", module.read_pins(pins)))
                jar.write_bytes(b"other")
                self.assertTrue(module.check(root / "repository", module.read_pins(pins)))
            self.assertIn("thing-1.0.jar: expected sha256", said.getvalue())


class CompareUNets(unittest.TestCase):
    """The driver of `tools/bench unet`, with contenders that implement its protocol and report given values."""

    CONTENDER = """#!/bin/sh
[ "$1" = -c ] && exit 0
name=%(name)s
case $1 in *peak.py) name=peak ;; esac
echo '{"ready":true,"contender":"'$name'","parameters":%(parameters)d,"threads":1,"resident_bytes":1,"flops":1000}'
turn=0
while read -r line; do
  [ "$line" = go ] || exit 3
  turn=$((turn + 1))
  [ $turn -gt %(turns)d ] && exit 4
  [ "$name" = peak ] || echo "%(name)s" >>"%(order)s"
  echo "{\\"seconds\\":%(seconds)s,\\"cpu_seconds\\":%(cpu)s,\\"peak_resident_bytes\\":$((turn * 1000000))}"
done
"""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.ours = self.contender("ours", seconds=0.5, cpu=1.0)
        self.theirs = self.contender("theirs", seconds=1.5, cpu=4.0)

    def contender(self, name, **said):
        defaults = dict(name=name, parameters=7, turns=1000, order=self.root / "order")
        program = self.root / name
        program.write_text(self.CONTENDER % (defaults | said))
        program.chmod(0o755)
        return program

    def compare(self, *options):
        command = [TOOLS.parent / "bench/peers/compare.py", "--bench", self.ours, "--python", self.theirs]
        command += ["--jemalloc", "none", "--rounds", "3", "--results", self.root / "results", *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    def test_takes_turns_and_records_ratios_within_a_round(self):
        result = self.compare("--pass", "backward")
        self.assertEqual(result.returncode, 0, result.stderr)
        order = (self.root / "order").read_text().split()
        self.assertEqual(order, ["ours", "theirs", "theirs", "ours", "ours", "theirs"])
        ours, theirs = map(json.loads, (self.root / "results").read_text().splitlines())
        self.assertEqual((ours["contender"], ours["times_ours"], ours["of_peak"]), ("ours", 1.0, 3.0))
        self.assertEqual((theirs["times_ours"], theirs["times_ours_cpu"]), (3.0, 4.0))
        self.assertEqual((theirs["pass"], theirs["peak_resident_bytes"]), ("forward+backward", 3000000))

    def test_refuses_to_compare_different_models(self):
        self.contender("theirs", seconds=1, cpu=1, parameters=8)
        result = self.compare()
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("not the same model", result.stderr)
        self.assertFalse((self.root / "results").exists())

    def test_names_what_is_missing(self):
        for options, message in [
            (["--python", "/nowhere/python"], "pip install torch"),
            (["--bench", "/nowhere/bench"], "not built"),
            (["--jemalloc", "/nowhere/jemalloc.so"], "no such file"),
        ]:
            result = self.compare(*options)
            self.assertEqual(result.returncode, 2, result.stderr)
            self.assertIn(message, result.stderr)

    def test_reports_a_contender_that_ends_early(self):
        self.contender("theirs", seconds=1, cpu=1, turns=1)
        result = self.compare()
        self.assertEqual(result.returncode, 2)
        self.assertIn("ended with exit code 4", result.stderr)


class CompareSteps(unittest.TestCase):
    """The driver of `tools/bench step`, likewise."""

    CONTENDER = """#!/bin/sh
[ "$1" = -c ] && exit 0
echo "%(name)s $*" >>"%(order)s"
echo '{"ready":true,"contender":"%(name)s","parameters":7,"threads":1,"micro_batch":1,"slots":4}'
while read -r line; do
  [ "$name" = peak ] || echo "%(name)s" >>"%(order)s"
  echo '{"seconds":%(seconds)s,"cpu_seconds":2,"phases":%(phases)s,"inversion_unet_seconds":0.594,
"unet_evaluations":%(evaluations)d,"peak_resident_bytes":5000000}' | tr -d '\\n'
  echo
done
"""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        phases = '{"invert":0.6,"gradients":0.3,"update":0.1}'
        self.ours = self.contender("ours", seconds=1, phases=phases)
        phases = '{"invert":1.5,"forward":0.3,"reference":0.2,"backward":0.5,"update":0.5}'
        self.theirs = self.contender("theirs", seconds=3, phases=phases)

    def contender(self, name, **said):
        program = self.root / name
        program.write_text(self.CONTENDER % (dict(name=name, evaluations=20, order=self.root / "order") | said))
        program.chmod(0o755)
        return program

    def compare(self, *options):
        command = [TOOLS.parent / "bench/peers/compare_step.py", "--java", self.ours, "--python", self.theirs]
        command += ["--jar", self.ours, "--library", self.ours, "--jemalloc", "none", "--results", self.root / "results"]
        return subprocess.run([*command, *options], capture_output=True, text=True, timeout=60)

    def test_compares_phases_and_reports_time_outside_the_unet(self):
        result = self.compare("--rounds", "2")
        self.assertEqual(result.returncode, 0, result.stderr)
        order = [line for line in (self.root / "order").read_text().splitlines() if " " not in line]
        self.assertEqual(order, ["ours", "theirs", "theirs", "ours"])
        ours, theirs = map(json.loads, (self.root / "results").read_text().splitlines())
        self.assertEqual((theirs["times_ours"], theirs["times_ours_cpu"]), (3.0, 1.0))
        self.assertEqual(theirs["phases_s"], {"invert": 1.5, "gradients": 1.0, "update": 0.5})
        self.assertEqual(ours["inversion_outside_unet"], 0.01)
        self.assertIn("outside the UNet: 1.00 %", result.stdout)

    def test_starts_each_for_its_turn_where_both_do_not_fit(self):
        result = self.compare("--rounds", "2", "--apart")
        self.assertEqual(result.returncode, 0, result.stderr)
        starts = [line for line in (self.root / "order").read_text().splitlines() if " " in line]
        self.assertEqual([line.split()[0] for line in starts], ["ours", "theirs", "theirs", "ours"])
        self.assertTrue(all("--warm-up state" in line for line in starts))

    def test_refuses_to_compare_other_work(self):
        self.contender("theirs", seconds=1, phases="{}", evaluations=18)
        result = self.compare("--rounds", "1")
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("not the same work: [20, 18] UNet evaluations a step", result.stderr)


class Setup(unittest.TestCase):
    def run_without(self, *missing, **environment):
        with tempfile.TemporaryDirectory() as folder:
            for directory in os.environ["PATH"].split(os.pathsep):
                for program in Path(directory).iterdir() if Path(directory).is_dir() else ():
                    link = Path(folder) / program.name
                    if program.name not in missing and not link.exists() and not link.is_symlink():
                        link.symlink_to(program)
            return subprocess.run(
                [TOOLS / "setup"], env=dict(os.environ, PATH=folder, **environment), capture_output=True, text=True
            )

    def test_names_each_missing_program_with_its_package(self):
        result = self.run_without("ninja", "mvn")
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, r"ninja .*ninja-build")
        self.assertRegex(result.stderr, r"Maven 3.8 or later \(mvn\) .*maven")
        self.assertNotIn("cmake", result.stderr)

    def test_refuses_a_folder_without_libtorch(self):
        result = self.run_without(SMPO_LIBTORCH="/nowhere")
        self.assertEqual(result.returncode, 1)
        self.assertIn("SMPO_LIBTORCH=/nowhere", result.stderr)

    def test_an_unknown_argument_is_a_usage_error(self):
        for tool in ("setup", "check", "format", "bench", "gpu-check"):
            result = subprocess.run([TOOLS / tool, "--no-such"], capture_output=True, text=True)
            self.assertEqual(result.returncode, 2, tool)
            self.assertIn("--help", result.stderr)

    def test_every_tool_has_help(self):
        for tool in ("setup", "check", "format", "lint", "bench", "gpu-check", "cuda-toolkit", "fetch-wheels"):
            result = subprocess.run([TOOLS / tool, "--help"], capture_output=True, text=True)
            self.assertEqual(result.returncode, 0, tool)
            self.assertIn(tool, result.stdout)


class Launcher(unittest.TestCase):
    """Scripts that are called through a link, without the other scripts, or from a path with a space."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)

    def test_a_link_finds_the_checkout(self):
        link = self.root / "smpo-lint"
        link.symlink_to(TOOLS / "lint")
        result = subprocess.run([link, "--help"], capture_output=True, text=True, cwd=self.root)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("tools/lint", result.stdout)

    def test_a_copy_without_its_companions_stops_at_once(self):
        copy = self.root / "smpo"
        shutil.copy(TOOLS / "smpo", copy)
        result = subprocess.run([copy, "--version"], capture_output=True, text=True, cwd=self.root)
        self.assertEqual(result.returncode, 1)
        self.assertEqual([copy], list(self.root.iterdir()))

    def test_what_setup_writes_can_be_read_when_the_path_has_a_space(self):
        checkout = self.root / "a b"
        torch = checkout / "build/deps/libtorch/torch"
        (torch / "lib").mkdir(parents=True)
        (torch / "lib/libtorch_cpu.so").touch()
        header = torch / "include/torch/headeronly/version.h"
        header.parent.mkdir(parents=True)
        header.write_text("".join(f"#define TORCH_VERSION_{n} {v}\n" for n, v in (("MAJOR", 2), ("MINOR", 11), ("PATCH", 0))))
        shutil.copytree(TOOLS, checkout / "tools")
        environment = dict(os.environ, SMPO_LIBTORCH=str(torch))
        result = subprocess.run([checkout / "tools/setup", "--quiet"], env=environment, capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stderr)
        found = subprocess.run(
            ["bash", "-c", 'set -e; . build/deps/environment.sh; echo "$SMPO_LIBTORCH"'],
            env={k: v for k, v in os.environ.items() if k != "SMPO_LIBTORCH"}, cwd=checkout, capture_output=True, text=True
        )
        self.assertEqual(found.stdout.strip(), str(torch), found.stderr)


class CacheFolder(unittest.TestCase):
    def test_a_home_that_cannot_be_written_is_replaced_with_a_warning(self):
        loader = importlib.machinery.SourceFileLoader("fetch_wheels", str(TOOLS / "fetch-wheels"))
        module = importlib.util.module_from_spec(importlib.util.spec_from_loader("fetch_wheels", loader))
        loader.exec_module(module)
        with tempfile.TemporaryDirectory() as folder:
            environment = dict(os.environ, HOME="/proc/none", TMPDIR=folder)
            for name in ("SMPO_CACHE", "XDG_CACHE_HOME"):
                environment.pop(name, None)
            stderr = io.StringIO()
            tempfile.tempdir = None
            with unittest.mock.patch.dict(os.environ, environment, clear=True), contextlib.redirect_stderr(stderr):
                place = module.cache_folder()
                self.assertEqual(place.parent, Path(folder))
                self.assertIn("SMPO_CACHE", stderr.getvalue())
                os.environ["XDG_CACHE_HOME"] = folder
                self.assertEqual(module.cache_folder(), Path(folder) / "smpo")
                os.environ["SMPO_CACHE"] = folder
                self.assertEqual(module.cache_folder(), Path(folder))
            tempfile.tempdir = None


if __name__ == "__main__":
    unittest.main()
