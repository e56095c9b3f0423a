"""The command line, as a user runs it: in a process of its own."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from deadline import scaled

import fastgw as fastgw_package
from fastgw.cli.run import LiveView
from fastgw.processes.status import ProcessesStatus, WorkerStatus

FASTGW = [sys.executable, "-m", "fastgw.cli"]


def fastgw(*arguments, **environment):
    return subprocess.run(
        [*FASTGW, *arguments],
        capture_output=True,
        text=True,
        timeout=scaled(90),
        env=os.environ | environment,
    )


@pytest.fixture
def running_demo():
    """A demo that has shown its first line; it would go on for a minute."""
    with subprocess.Popen(
        [*FASTGW, "demo", "--seconds", "60", "--rate", "100", "--plain"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job ignores SIGINT, and hands that down to all it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as demo:
        try:
            assert " events, " in demo.stdout.readline()
            yield demo
        finally:
            demo.kill()


def test_demo_holds_what_it_promises():
    """`fastgw demo` resumes after the cut, loses and duplicates nothing, and exits with 0."""
    done = fastgw("demo", "--seconds", "2", "--rate", "2000", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads(done.stdout)
    assert summary["holds"] is True
    assert summary["identifies"] == 1
    assert summary["resumes"] >= 1
    assert (summary["lost"], summary["duplicated"]) == (0, 0)
    assert summary["events"] == summary["dropped"] + summary["delivered"]
    assert summary["delivered"] > summary["decoded"] > 0


def test_demo_of_a_fleet_comes_up_and_resumes():
    """Each shard identifies once, within the limit, and resumes after the cut."""
    done = fastgw("demo", "--shards", "20", "--seconds", "2", "--rate", "1000", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads(done.stdout)
    assert summary["holds"] is True
    assert (summary["shards"], summary["identifies"]) == (20, 20)
    assert summary["resumes"] >= 20
    assert (summary["lost"], summary["duplicated"]) == (0, 0)


@pytest.mark.parametrize("module", ["fastgw", "fastgw.cli"])
def test_the_version_is_told(module):
    """One line, the name first, however the command is called."""
    done = subprocess.run(
        [sys.executable, "-m", module, "--version"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"fastgw {fastgw_package.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "a fake gateway to try a bot against"),  # the help, which lists the commands
        (["demo", "--shards", "0"], "between 1 and 1024"),
        (["run"], "MODULE:NAME"),
        (["run", "bot.py"], "names a file"),
        (["run", "bot:gateway", "--shards", "3-1"], "does not name shards"),
        (["run", "bot:gateway", "--shards", "0-3"], "without --shard-count"),
        (["demo", "--seconds", "0"], "between 2 and 3600"),
        (["demo", "--rate", "many"], "'many' is no whole number between 100 and 1000000"),
        (["demo", "--seconds", "nan"], "'nan' is no number between 2 and 3600"),
        (["fake", "--port", "70000"], "between 0 and 65535"),
        (["fake", "--refuse", "4000"], "choose from"),
        (["replay", "f", "--port", "-1"], "between 0 and 65535"),
        (["top", "--interval", "0"], "between 0.1 and 3600"),
        (["doctor", "--processes", "0"], "between 1 and 1024"),
        (["tail", "--count", "0"], "between 1 and"),
        (["tail", "--shard-count", "0"], "between 1 and"),
        (["record", "f", "--seconds", "0"], "between 0.1 and"),
        (["fak"], "there is no command 'fak'; did you mean fake?"),
        (["zzz"], "there is no command 'zzz'; `fastgw --help` lists them"),
        (["--colour"], "COMMAND"),
    ],
)
def test_wrong_arguments_are_told(arguments, says):
    """Bad arguments end with exit code 2 and a sentence."""
    done = fastgw(*arguments)
    assert done.returncode == 2
    assert says in done.stderr


@pytest.mark.parametrize("stdout", ["", " >&-"], ids=["stdout", "no stdout"])
def test_what_cannot_run_says_why_in_one_line(tmp_path, stdout):
    """Without trustme: what to install, exit code 2, and no traceback of either process."""
    (tmp_path / "trustme.py").write_text("raise ImportError('not here')")
    done = subprocess.run(
        ["sh", "-c", f'exec "$@"{stdout}', "sh", *FASTGW, "demo", "--seconds", "2"],
        capture_output=True,
        text=True,
        timeout=scaled(60),
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("fastgw: ")
    assert "pip install 'fastgw[testing]'" in line


def test_a_closed_pipe_ends_it_quietly(running_demo):
    """As in `fastgw demo | head`: the exit code of SIGPIPE, and nothing on standard error."""
    running_demo.stdout.close()
    assert running_demo.wait(scaled(30)) == 141
    assert running_demo.stderr.read() == ""


def test_an_interrupt_ends_it_quietly(running_demo):
    """Ctrl-C: the exit code of SIGINT, and no traceback of either process."""
    running_demo.send_signal(signal.SIGINT)
    assert running_demo.wait(scaled(30)) == 130
    assert running_demo.stderr.read() == ""


def test_an_interrupt_while_it_is_imported_ends_it_quietly(tmp_path):
    """Ctrl-C in the first half second: by the module that the installed command calls."""
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8")
    (module,) = re.findall(r'^fastgw = "([\w.]+):main"$', project, re.M)
    (tmp_path / "picows.py").write_text("raise KeyboardInterrupt")
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; from {module} import main; sys.exit(main())"],
        capture_output=True,
        text=True,
        timeout=scaled(60),
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_an_interrupt_while_python_m_imports_the_command_ends_it_quietly(tmp_path):
    """The package itself is imported by Python, before anything of ours could catch it."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class CtrlC:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'fastgw.cli':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, CtrlC())\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "fastgw"],
        capture_output=True,
        text=True,
        timeout=scaled(60),
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_the_live_view_of_processes_fits_80_columns():
    """The bar has a line of its own, above the table."""
    console_module = pytest.importorskip("rich.console")
    worker = WorkerStatus(
        index=0, pid=123456, phase="running", shard_ids=(0, 1), share=2, ready=1, restarts=0
    )
    status = ProcessesStatus(workers=(worker,), shard_count=2, is_closing=False, is_rolling=False)
    console = console_module.Console(file=io.StringIO(), width=80)
    console.print(LiveView()._view(status))
    lines = console.file.getvalue().splitlines()
    (top,) = (line for line in lines if "┏" in line)
    assert top.startswith("┏")
    assert all(len(line) <= 80 for line in lines)
