"""The scripts that the README, the Makefile and continuous integration call, run for real.

Only pip is replaced: a stand-in environment's `python` writes down what pip was asked for, and is the running
interpreter for everything else.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cifarlab.bundle.ort_web import ORT_WEB

ROOT = Path(__file__).parents[2]
SCRIPTS = [*sorted((ROOT / "scripts").iterdir()), ROOT / ".ci" / "run"]


def run(*command: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("PYTHON", "CIFARLAB_VENV", "CIFARLAB_DATA", "MAKEFLAGS")
    }
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, env={**environment, **variables}, capture_output=True, text=True, timeout=120, check=False
    )


def write_script(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """A stand-in environment; `pip.log` in it holds one line for each call of pip."""
    folder = tmp_path / "venv"
    python, log = shlex.quote(sys.executable), shlex.quote(str(folder / "pip.log"))
    pip = f'case "$*" in *--version*) ;; *) echo "$*" >>{log}; [ ! -e {shlex.quote(str(folder / "pip-fails"))} ];; esac'
    write_script(folder / "bin" / "python", f'if [ "${{1-}} ${{2-}}" = "-m pip" ]; then {pip}; else exec {python} "$@"; fi')
    write_script(folder / "bin" / "cifarlab", f'exec {python} -m cifarlab "$@"')
    (folder / "pyvenv.cfg").touch()
    return folder


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the scripts read, beside nothing else."""
    folder = tmp_path / "check out"  # a space, as in many home folders
    for name in ("scripts", ".ci"):
        shutil.copytree(ROOT / name, folder / name)
    for name in ("pyproject.toml", "constraints.txt", "Makefile"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def pip_calls(venv: Path) -> list[str]:
    log = venv / "pip.log"
    return log.read_text().splitlines() if log.exists() else []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda file: file.name)
def test_scripts_are_executable_strict_and_say_what_they_do(script: Path) -> None:
    lines = script.read_text().splitlines()
    assert os.access(script, os.X_OK)
    assert lines[0] in ("#!/bin/sh", "#!/usr/bin/env bash")
    assert [line[:2] for line in lines[1:3]] == ["# ", "# "]
    assert any(line.startswith(("set -eu", "set -euo pipefail")) for line in lines[3:6])
    shell = "bash" if "bash" in lines[0] else "sh"
    assert run(shell, "-n", script, cwd=ROOT).returncode == 0


# -- install --------------------------------------------------------------------------------------------------


def test_install_asks_pip_for_the_pinned_package(checkout: Path, venv: Path, tmp_path: Path) -> None:
    done = run(checkout / "scripts" / "install", "test,dev", cwd=tmp_path, CIFARLAB_VENV=str(venv))
    assert done.returncode == 0, done.stderr
    assert pip_calls(venv) == ["-m pip install --quiet -c constraints.txt -e .[test,dev]"]
    assert "installing cifarlab with the extras test,dev" in done.stderr
    assert done.stdout == ""


def test_install_does_nothing_the_second_time(checkout: Path, venv: Path) -> None:
    for _ in range(2):
        last = run("scripts/install", cwd=checkout, CIFARLAB_VENV=str(venv))
    assert pip_calls(venv) == ["-m pip install --quiet -c constraints.txt -e ."]
    assert last.stderr == ""


@pytest.mark.parametrize("changed", ["pyproject.toml", "constraints.txt"])
def test_install_notices_a_change(checkout: Path, venv: Path, changed: str) -> None:
    run("scripts/install", cwd=checkout, CIFARLAB_VENV=str(venv))
    with (checkout / changed).open("a") as file:
        file.write("# changed\n")
    run("scripts/install", cwd=checkout, CIFARLAB_VENV=str(venv))
    assert len(pip_calls(venv)) == 2


def test_extras_are_installed_beside_the_core_and_both_are_remembered(checkout: Path, venv: Path) -> None:
    for extras in ([], ["test"], [], ["test"]):
        run("scripts/install", *extras, cwd=checkout, CIFARLAB_VENV=str(venv))
    assert [call.split()[-1] for call in pip_calls(venv)] == [".", ".[test]"]


def test_a_failed_installation_is_an_error_and_is_tried_again(checkout: Path, venv: Path) -> None:
    (venv / "pip-fails").touch()
    failed = run("scripts/install", cwd=checkout, CIFARLAB_VENV=str(venv))
    assert failed.returncode == 1
    assert "pip could not install" in failed.stderr
    (venv / "pip-fails").unlink()
    assert run("scripts/install", cwd=checkout, CIFARLAB_VENV=str(venv)).returncode == 0
    assert len(pip_calls(venv)) == 2


def test_an_old_python_is_refused(checkout: Path, tmp_path: Path) -> None:
    old = write_script(tmp_path / "python3.9", 'if [ "$1" = -V ]; then echo "Python 3.9.2"; else exit 1; fi')
    done = run("scripts/install", cwd=checkout, CIFARLAB_VENV=str(tmp_path / "new"), PYTHON=str(old))
    assert done.returncode == 1
    assert "is Python 3.9.2; cifarlab needs Python 3.11 or newer. Name another one with PYTHON=python3.12" in done.stderr
    assert not (tmp_path / "new").exists()


def test_no_python_and_no_venv_module_are_refused(checkout: Path, tmp_path: Path) -> None:
    new = str(tmp_path / "new")
    missing = run("scripts/install", cwd=checkout, CIFARLAB_VENV=new, PYTHON="python3-that-is-not-there")
    assert missing.returncode == 1
    assert "'python3-that-is-not-there' was not found. cifarlab needs Python 3.11 or newer" in missing.stderr
    debian = write_script(tmp_path / "python3", 'case "$2" in *ensurepip*) exit 1;; esac')
    split = run("scripts/install", cwd=checkout, CIFARLAB_VENV=new, PYTHON=str(debian))
    assert split.returncode == 1
    assert "sudo apt install python3-venv" in split.stderr


def test_a_folder_of_the_user_is_never_cleared(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years of work")
    done = run("scripts/install", cwd=checkout, CIFARLAB_VENV=str(tmp_path / "home"), PYTHON=sys.executable)
    assert done.returncode == 1
    assert "neither empty nor a virtual environment" in done.stderr
    assert (tmp_path / "home" / "thesis.txt").read_text() == "years of work"


# -- test, demo, check: what the README's two commands run --------------------------------------------------------


def test_the_test_script_installs_and_runs_pytest(venv: Path, tmp_path: Path) -> None:
    arguments = ["--co", "-p", "no:cacheprovider", "tests/contracts/test_layers.py"]
    done = run(ROOT / "scripts" / "test", *arguments, cwd=tmp_path, CIFARLAB_VENV=str(venv), PYTHONPATH=str(ROOT / "src"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_every_import_points_down" in done.stdout
    assert [call.split()[-1] for call in pip_calls(venv)] == [".[test]"]


def test_the_test_script_fails_when_a_test_fails(venv: Path, tmp_path: Path) -> None:
    done = run(ROOT / "scripts" / "test", "tests/no_such_file.py", cwd=tmp_path, CIFARLAB_VENV=str(venv))
    assert done.returncode != 0


def test_the_demo_script_installs_the_core_and_passes_arguments_on(venv: Path, tmp_path: Path) -> None:
    done = run(ROOT / "scripts" / "demo", "--help", cwd=tmp_path, CIFARLAB_VENV=str(venv), PYTHONPATH=str(ROOT / "src"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "demo" in done.stdout
    assert [call.split()[-1] for call in pip_calls(venv)] == ["."]


def test_check_runs_all_three_and_fails_when_one_fails(checkout: Path, tmp_path: Path) -> None:
    for failing, expected in (("ruff format", 1), ("mypy", 1), ("nothing", 0)):
        venv = tmp_path / failing.replace(" ", "-")
        log = shlex.quote(str(venv / "log"))
        write_script(venv / "bin" / "python", f'echo "$*" >>{log}; case "$*" in *"-m {failing}"*) exit 3;; esac')
        done = run("scripts/check", cwd=checkout, CIFARLAB_VENV=str(venv))
        assert done.returncode == expected
        calls = (venv / "log").read_text()
        for part in ("-e .[dev]", "-m ruff format --check .", "-m ruff check .", "-m mypy"):
            assert part in calls


# -- chromium: what the browser tests need ---------------------------------------------------------------------------


def run_chromium(tmp_path: Path, *, user: int, **programs: str) -> subprocess.CompletedProcess[str]:
    """scripts/chromium on a machine that has `programs` and is worked on by `user`."""
    folder = tmp_path / "bin"
    for name, text in {"id": f"echo {user}", **programs}.items():
        write_script(folder / name, text)
    return run("/bin/sh", ROOT / "scripts" / "chromium", cwd=tmp_path, PATH=str(folder))


def test_a_chromium_that_is_there_is_kept(tmp_path: Path) -> None:
    done = run_chromium(tmp_path, user=0, chromium="", **{"apt-get": "exit 7"})
    assert (done.returncode, done.stdout) == (0, "")
    assert "chromium is there" in done.stderr


def test_chromium_is_installed_by_root(tmp_path: Path) -> None:
    done = run_chromium(tmp_path, user=0, **{"apt-get": 'echo "asked: $*" >&2'})
    assert done.returncode == 0
    assert "asked: update" in done.stderr
    assert "asked: install -y -qq --no-install-recommends chromium" in done.stderr


@pytest.mark.parametrize(
    ("user", "programs", "reason"),
    [
        (1000, {"apt-get": "exit 7"}, "needs root; the browser tests will be skipped. To run them: sudo apt-get install chromium"),
        (0, {}, "neither is apt-get; the browser tests will be skipped"),
        (0, {"apt-get": "echo no route to the archive >&2; exit 100"}, "could not install it; its message is above"),
    ],
    ids=["no-root", "no-apt-get", "no-network"],
)
def test_where_chromium_cannot_be_had_that_is_said(tmp_path: Path, user: int, programs: dict[str, str], reason: str) -> None:
    done = run_chromium(tmp_path, user=user, **programs)
    assert done.returncode == 0
    assert reason in done.stderr


# -- make and continuous integration ----------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["demo", "test", "check"])
def test_make_runs_the_script_and_passes_its_failure_on(checkout: Path, target: str) -> None:
    write_script(checkout / "scripts" / target, f"echo ran {target}")
    done = run("make", "--no-print-directory", target, cwd=checkout)
    assert (done.returncode, done.stdout) == (0, f"ran {target}\n")
    write_script(checkout / "scripts" / target, "exit 1")
    assert run("make", "--no-print-directory", target, cwd=checkout).returncode != 0


def test_make_clean_keeps_runs_and_the_environment(checkout: Path) -> None:
    kept = [checkout / "runs" / "a" / "recipe.yaml", checkout / ".venv" / "pyvenv.cfg", checkout / "src" / "a.py"]
    removed = [checkout / "build" / "a", checkout / ".pytest_cache" / "a", checkout / "src" / "__pycache__" / "a.pyc"]
    for file in kept + removed:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert run("make", "clean", cwd=checkout).returncode == 0
    assert all(file.exists() for file in kept)
    assert not any(file.parent.exists() for file in removed)


def test_ci_checks_and_then_tests_on_real_data_where_it_is(checkout: Path, tmp_path: Path) -> None:
    for name in ("check", "chromium", "ort-web", "test"):
        write_script(checkout / "scripts" / name, f'echo "{name} with [${{CIFARLAB_DATA-}}]"')
    done = run(checkout / ".ci" / "run", cwd=tmp_path.parent)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if " with " in line] == [
        *("check with []", "chromium with []", "ort-web with []", "test with []")
    ]
    data = tmp_path / "shared" / "data"
    data.mkdir(parents=True)
    assert f"test with [{data.resolve()}]" in run(checkout / ".ci" / "run", cwd=tmp_path.parent).stdout


@pytest.mark.parametrize("failing", ["check", "test"])
def test_ci_fails_when_a_step_fails(checkout: Path, failing: str) -> None:
    for name in ("check", "chromium", "ort-web", "test"):
        write_script(checkout / "scripts" / name, "exit 1" if name == failing else "exit 0")
    done = run(".ci/run", cwd=checkout)
    assert done.returncode != 0
    assert "passed" not in done.stdout


# -- ort-web --------------------------------------------------------------------------------------------------


def test_ort_web_fetches_the_pinned_version_once(checkout: Path, tmp_path: Path) -> None:
    pinned = checkout / "src" / "cifarlab" / "bundle" / "ort_web.py"
    pinned.parent.mkdir(parents=True)
    shutil.copy(ROOT / "src" / "cifarlab" / "bundle" / "ort_web.py", pinned)
    write_script(tmp_path / "bin" / "npm", 'echo "$*" >>npm.log; touch "$(echo "$2" | tr @ -).tgz"')
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    first, second = (run(checkout / "scripts" / "ort-web", cwd=tmp_path, PATH=path) for _ in range(2))
    assert first.returncode == second.returncode == 0, first.stderr
    assert Path(first.stdout.strip()).name == f"onnxruntime-web-{ORT_WEB.version}.tgz"
    assert Path(second.stdout.strip()).is_file()
    assert (checkout / ".cache" / "npm.log").read_text() == f"pack onnxruntime-web@{ORT_WEB.version} --ignore-scripts --silent\n"


def test_ort_web_says_so_where_npm_cannot_fetch(checkout: Path, tmp_path: Path) -> None:
    pinned = checkout / "src" / "cifarlab" / "bundle" / "ort_web.py"
    pinned.parent.mkdir(parents=True)
    shutil.copy(ROOT / "src" / "cifarlab" / "bundle" / "ort_web.py", pinned)
    write_script(tmp_path / "bin" / "npm", "echo no route to the registry >&2; exit 1")
    done = run(checkout / "scripts" / "ort-web", cwd=tmp_path, PATH=f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    assert (done.returncode, done.stdout) == (0, "")
    assert "no route to the registry" in done.stderr
    assert "will be skipped" in done.stderr
