"""The archive for machines with a GPU: unpacked elsewhere, and run as far as a stand-in goes.

The stand-in for the CUDA driver executes the PTX, so the values are the kernel's. What runs
sees the archive and what the suite needs, and nothing of this checkout.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fake_driver
import pytest
from gpu.pack import bundle, extras
from installed import closure
from programs import ran
from release import run_time
from whisper_mel_mojo.builder import cache_folder, target_cpu
from whisper_mel_mojo.gpu.emulator.driver import SOURCE

pytestmark = [pytest.mark.compiles, pytest.mark.torch, pytest.mark.xdist_group("gpu-bundle")]

if importlib.util.find_spec("max") is None:
    pytest.skip("compiling for GPUs takes the package max", allow_module_level=True)

BASE = getattr(sys, "_base_executable", sys.executable)
"""An interpreter that does not see this environment."""

# Between the stand-in for the driver and the kernel: $FAULT spoils what it computes. A copy of the
# library has the name of the kernel's, which is in $REAL.
FAULTY = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "launch.h"
uint32_t parameter_sizes[32];
static const char *(*real)(struct launch *);
__attribute__((constructor)) static void load(void) {
    char path[4096];
    Dl_info self;
    dladdr((void *)load, &self);
    snprintf(path, sizeof path, "%s%s", getenv("REAL"), strrchr(self.dli_fname, '/'));
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const uint32_t *sizes = dlsym(library, "parameter_sizes");
    for (int i = 0; i < 31 && sizes[i]; i++)
        parameter_sizes[i] = sizes[i];
    *(void **)&real = dlsym(library, "run_launch");
}
const char *run_launch(struct launch *it) {
    const char *found = real(it);
    float *values = *(float **)it->arguments[2];
    if (!strcmp(getenv("FAULT"), "wrong"))
        values[7] += 0.01f;
    static int calls;  // a fault that the diagnosis sees at once
    if (!strcmp(getenv("FAULT"), "each time more"))
        values[7] += 0.01f * ++calls;
    if (!strcmp(getenv("FAULT"), "overrun"))
        values[-1] = 0;
    return found;
}
"""
# The translator whose kernels are spoiled
SPOILING = """#!/bin/sh
real=$({translator} "$1") || exit 1
spoiled="{folder}/$(basename "$real")"
# Whole or not at all: another process may have loaded it.
cp {folder}/faulty.so "$spoiled.$$" && mv "$spoiled.$$" "$spoiled"
echo "$spoiled"
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For one device, with one mapping; for this machine's CPU, for which all is built already."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WHISPER_MEL_TARGET_CPU", target_cpu())
        patch.setattr(extras, "VARIANTS", {"as-shipped": {}})
        return bundle.make(tmp_path_factory.mktemp("dist"), ["sm_90a"], ("variants",))


@pytest.fixture(scope="module")
def unpacked(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("elsewhere")
    with tarfile.open(archive) as packed:
        packed.extractall(folder)
    [root] = folder.iterdir()
    return root


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of a machine with nothing but what is needed, a driver, and no project."""
    site = tmp_path_factory.mktemp("site")
    for name in closure(["numpy", "pytest", "hypothesis"]):
        distribution = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
            place = site / top
            if not place.exists():
                place.symlink_to(str(distribution.locate_file(top)))
    driver = fake_driver.make(tmp_path_factory.mktemp("driver"))
    made = fake_driver.environment(driver, computes=True)
    names = ("LD_LIBRARY_PATH", "FAKE_DRIVER_LOG", "FAKE_DRIVER_TRANSLATOR")
    return {
        **{name: made[name] for name in names},
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path_factory.mktemp("home")),
        "PYTHONPATH": str(site),
        "LANG": "C.UTF-8",
        "WHISPER_MEL_GPU_SCALE": "rehearsal",
    }


def run(
    unpacked: Path, environment: dict[str, str], only: str, folder: Path, *words: str
) -> tuple[int, dict[str, Any], str]:
    """Exit status, ``gpu.json``, and all that was said."""
    command = [BASE, "-s", str(unpacked / "ci" / "gpu" / "run"), "--only", only]
    done = subprocess.run(
        [*command, "--output", str(folder), *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    document = (
        json.loads((folder / "gpu.json").read_text()) if (folder / "gpu.json").exists() else {}
    )
    return done.returncode, document, done.stdout


def statuses(document: dict[str, Any], names: Sequence[str]) -> list[str]:
    return [document["sections"][name]["status"] for name in names]


def test_what_is_in_it(archive: Path, unpacked: Path) -> None:
    assert archive.stat().st_size < bundle.LARGEST
    assert "gpu" in archive.name
    facts = json.loads((unpacked / "bundle.json").read_text())
    assert facts["targets"] == ["sm_90a"]
    assert len(facts["commit"]) == 40
    assert {path.name for path in (unpacked / "ci" / "gpu").iterdir()} == {
        *("__init__.py", "device", "run")
    }
    libraries = list(unpacked.rglob("*.so"))
    assert len(libraries) == 3 + len(run_time.NAMES)
    for library in libraries:
        places = run_time.entries(library, "R(?:UN)?PATH")
        assert all(place.startswith("$ORIGIN") for place in places), (library, places)
        if library.name not in run_time.NAMES:
            folders = [place.replace("$ORIGIN", str(library.parent)) for place in places]
            assert all(Path(it, name).exists() for it in folders for name in run_time.NAMES)


@pytest.mark.nightly
def test_the_rehearsal(unpacked: Path, environment: dict[str, str], tmp_path: Path) -> None:
    """Every section that a stand-in for the driver can carry passes; others say what they lack."""
    passing = ("values", "streams", "memory", "timing", "tuning", "conformance")
    lacking = ("launches", "racecheck", "counters")
    wanted = ",".join((*passing, *lacking))
    status, document, said = run(unpacked, environment, wanted, tmp_path)
    assert status == 3, said
    assert statuses(document, passing) == ["passed"] * len(passing), said
    assert statuses(document, lacking) == ["not run"] * len(lacking), said
    sections = document["sections"]
    assert sections["conformance"]["data"]["mojo-gpu"]["class"] == "A"
    assert sections["conformance"]["data"]["mojo-gpu"]["counts"]["passed"] > 5
    assert sections["memory"]["data"]["beside_arrays_bytes"] == 0
    assert sections["tuning"]["data"]["best"][0]["best"] == "as-shipped"
    assert "is not installed" in sections["racecheck"]["findings"][0]
    assert "nothing here is a measurement" in said
    # Nothing was built there, and nothing of this checkout was used.
    assert not list(Path(environment["HOME"]).rglob("*.so"))
    where = "import whisper_mel_mojo, whisper_mel_reference; print(whisper_mel_mojo.__file__)"
    path = os.pathsep.join([str(unpacked / "packages"), environment["PYTHONPATH"]])
    asked = ran(
        [BASE, "-s", "-c", where], env={**environment, "PYTHONPATH": path}, cwd=tmp_path, check=True
    )
    assert asked.stdout.startswith(str(unpacked))

    from gpu import keeping

    assert keeping.read(tmp_path / "gpu.json")["scale"] == "rehearsal"
    with pytest.raises(ValueError, match="is a rehearsal"):
        keeping.keep(tmp_path / "gpu.json")


@pytest.mark.nightly
def test_without_what_the_suite_needs(
    unpacked: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    for path in Path(environment["PYTHONPATH"]).iterdir():
        if path.name != "hypothesis":
            (site / path.name).symlink_to(path)
    missing = "raise ModuleNotFoundError(\"No module named 'hypothesis'\")"
    (site / "hypothesis.py").write_text(missing)  # the Python below may have packages of its own
    poor = {**environment, "PYTHONPATH": str(site)}
    status, document, said = run(unpacked, poor, "values,conformance", tmp_path)
    assert status == 3, said
    assert statuses(document, ["values", "conformance"]) == ["passed", "not run"], said
    assert "No module named 'hypothesis'" in document["sections"]["conformance"]["findings"][0]


@pytest.fixture(scope="module")
def faulty(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("faulty")
    (folder / "faulty.c").write_text(FAULTY)
    command = ["gcc", "-shared", "-fPIC", "-w", f"-I{SOURCE.parent}", "faulty.c", "-ldl"]
    subprocess.run([*command, "-o", "faulty.so"], cwd=folder, check=True)
    script = folder / "translate"
    translator = environment["FAKE_DRIVER_TRANSLATOR"]
    script.write_text(SPOILING.format(translator=translator, folder=folder))
    script.chmod(0o755)
    return {
        **environment,
        "REAL": str(cache_folder()),
        "FAKE_DRIVER_TRANSLATOR": str(script),
    }


FAULTS = [
    ("wrong", "values", "worst score"),
    ("each time more", "conformance", "mojo-gpu: golden/length-400/80: value["),
    ("overrun", "values", "out: 1 words before it were written"),
    ("none", "values", ""),
]


@pytest.mark.nightly  # by day a device that computes nothing is found, below
@pytest.mark.parametrize(("fault", "section", "finding"), FAULTS)
def test_a_planted_fault_is_found(
    fault: str,
    section: str,
    finding: str,
    unpacked: Path,
    faulty: dict[str, str],
    tmp_path: Path,
) -> None:
    status, document, said = run(unpacked, {**faulty, "FAULT": fault}, section, tmp_path)
    findings = "\n".join(document["sections"][section]["findings"])
    assert (status, bool(findings)) == ((1, True) if finding else (0, False)), said
    assert finding in findings, said


def test_a_device_that_computes_nothing(
    unpacked: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    idle = {k: v for k, v in environment.items() if k != "FAKE_DRIVER_TRANSLATOR"}
    status, document, _ = run(unpacked, idle, "values,streams", tmp_path)
    assert status == 1
    assert statuses(document, ("values", "streams")) == ["failed", "failed"]
    assert "values were not written" in document["sections"]["values"]["findings"][0]


def test_without_a_driver(unpacked: Path, environment: dict[str, str], tmp_path: Path) -> None:
    bare = {k: v for k, v in environment.items() if k != "LD_LIBRARY_PATH"}
    status, document, said = run(unpacked, bare, "values,conformance", tmp_path)
    assert status == 3, said
    assert "there is no CUDA device" in document["environment"]["why_no_device"]
    for name in ("values", "conformance"):
        assert "there is no CUDA device" in document["sections"][name]["findings"][0]


def test_a_damaged_library_is_not_loaded(
    unpacked: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(unpacked, tmp_path / "copy"))
    [library] = (copy / "packages" / "whisper_mel_mojo" / "prebuilt").glob("launch-*.so")
    library.write_bytes(library.read_bytes()[:-1] + b"x")
    status, document, _ = run(copy, environment, "values", tmp_path)
    assert status == 1
    assert "the package mojo-compiler is not installed" in str(document["sections"]["values"])


@pytest.mark.parametrize("minor", [10, 11, 12, 13])
def test_other_pythons_understand_all_of_it(minor: int, unpacked: Path, tmp_path: Path) -> None:
    """Where they are installed: every module compiles, and the command says what it can do."""
    python = shutil.which(f"python3.{minor}")
    runs = python and subprocess.run([python, "-c", ""], capture_output=True).returncode == 0
    if not runs:
        pytest.skip(f"python3.{minor} is not installed")
    assert python
    copy = shutil.copytree(unpacked, tmp_path / "copy")
    compiled = [python, "-W", "error", "-m", "compileall", "-q", str(copy)]
    assert subprocess.run(compiled).returncode == 0
    command = [python, str(copy / "ci" / "gpu" / "run"), "--help"]
    done = ran(command, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "racecheck" in done.stdout


def shared(folder: Path, name: str, *options: str) -> Path:
    (folder / "a.c").write_text("int f(void) { return 0; }")
    command = ["gcc", "-shared", "-o", name, "-Wl,--no-as-needed", "a.c", *options]
    subprocess.run(command, cwd=folder, check=True)
    return folder / name


@pytest.mark.parametrize("to", ["$ORIGIN/x", "$ORIGIN/" + "x" * 40, None])
def test_libraries_are_told_where_theirs_are(to: str | None, tmp_path: Path) -> None:
    place = "-Wl,--enable-new-dtags", "-Wl,-rpath,/some/long/place"
    for library in (shared(tmp_path, "a.so", *place), shared(tmp_path, "looks_nowhere.so")):
        run_time.relocate(library, to)
        assert run_time.entries(library, "RPATH") == ([to] if to else [])
        assert run_time.entries(library, "RUNPATH") == []
        assert b"/some/long/place" not in library.read_bytes()


def test_a_library_that_needs_others_is_not_packed(tmp_path: Path) -> None:
    shared(tmp_path, "libstrange.so.1", "-Wl,-soname,libstrange.so.1")
    shared(tmp_path, "b.so", "./libstrange.so.1")
    with pytest.raises(ValueError, match=r"needs libstrange\.so\.1, which nobody packs"):
        run_time.require_closed(tmp_path / "b.so")


def test_a_device_that_is_not_known(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--target sm_1: expected of sm_75"):
        bundle.make(tmp_path, ["sm_1"])
