"""A stand-in for SLURM on one machine: what submitit and Lightning call and read of it, and nothing else.

Its first argument says which command it is: ``sbatch``, ``srun``, ``sacct`` or ``scontrol``. The state is in
``$BATCH_SYSTEM``. ``sbatch`` starts the jobs of an array one after the other, and again where ``scontrol
requeue`` asks for it. Where a file ``preempt`` there names another file, a job that has not been queued again
yet is pre-empted once that file exists.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

STATE = Path(os.environ["BATCH_SYSTEM"])
FIRST = 41000


def sbatch(script: str) -> int:
    flags = dict(re.findall(r"^#SBATCH --([\w-]+)=(.*)$", Path(script).read_text(), re.M))
    (STATE / "flags.txt").write_text("\n".join(f"{key}={value}" for key, value in flags.items()))
    command = [sys.executable, __file__, "run", script, *(f"{k}={v}" for k, v in flags.items())]
    with (STATE / "log.txt").open("a") as log:
        subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    sys.stdout.write(f"Submitted batch job {FIRST}" + "\n")
    return 0


def run(script: str, *words: str) -> int:
    flags = dict(word.split("=", 1) for word in words)
    nodes, tasks = flags.get("nodes", "1"), flags.get("ntasks-per-node", "1")
    array = re.match(r"(\d+)-(\d+)", flags.get("array", ""))
    numbers = range(int(array[1]), int(array[2]) + 1) if array else [None]
    names = [str(FIRST) if number is None else f"{FIRST}_{number}" for number in numbers]
    for name in names:
        (STATE / f"{name}.state").write_text("PENDING")
    for number, name in zip(numbers, names, strict=True):
        job, total = str(FIRST + (number or 0)), str(int(nodes) * int(tasks))
        own = {"SLURM_JOB_ID": job, "SLURM_JOBID": job, "SLURM_JOB_NAME": flags["job-name"]}
        own |= dict.fromkeys(("SLURM_JOB_NODELIST", "SLURM_NODELIST"), "localhost")
        own |= dict.fromkeys(("SLURM_JOB_NUM_NODES", "SLURM_NNODES"), nodes)
        own |= {"SLURM_NTASKS": total, "SLURM_NTASKS_PER_NODE": tasks, "BATCH_NAME": name}
        if number is not None:
            own |= {"SLURM_ARRAY_JOB_ID": str(FIRST), "SLURM_ARRAY_TASK_ID": str(number)}
        restarts, again = 0, STATE / f"{name}.requeue"
        while restarts == 0 or again.exists():
            again.unlink(missing_ok=True)
            (STATE / f"{name}.state").write_text("RUNNING")
            counted = {"SLURM_RESTART_COUNT": str(restarts)} if restarts else {}
            code = subprocess.call(["bash", script], env={**os.environ, **own, **counted})
            restarts += 1
        (STATE / f"{name}.state").write_text("FAILED" if code else "COMPLETED")
    return 0


def srun(*words: str) -> int:
    start = words.index(next(word for word in words if Path(word).name.startswith("python")))
    name, processes = os.environ["BATCH_NAME"], []
    for number in range(int(os.environ["SLURM_NTASKS"])):
        ranks = {key: str(number) for key in ("SLURM_PROCID", "SLURM_LOCALID")}
        with (STATE / f"{name}.{number}.txt").open("a") as log:
            own = {**os.environ, **ranks, "SLURM_NODEID": "0"}
            processes.append(subprocess.Popen(words[start:], stdout=log, stderr=log, env=own))
    wish = STATE / "preempt"
    while any(process.poll() is None for process in processes):
        time.sleep(0.05)
        due = wish.exists() and Path(wish.read_text()).exists()
        if due and "SLURM_RESTART_COUNT" not in os.environ:
            wish.unlink()
            for process in processes:
                process.send_signal(signal.SIGUSR2)
        if any(process.poll() for process in processes):  # one has failed: the step ends
            for process in processes:
                process.kill()
    return max(abs(process.wait()) for process in processes)


def sacct(*words: str) -> int:
    sys.stdout.write("JobID|State|NodeList" + "\n")
    for path in STATE.glob("*.state"):
        sys.stdout.write(f"{path.stem}|{path.read_text()}|localhost" + "\n")
    return 0


def scontrol(verb: str, job: str) -> int:
    assert verb == "requeue"
    (STATE / f"{job}.requeue").touch()
    return 0


if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    raise SystemExit(
        {f.__name__: f for f in (sbatch, run, srun, sacct, scontrol)}[name](*arguments)
    )
