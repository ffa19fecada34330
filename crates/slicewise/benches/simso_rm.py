"""Runs a rate-monotonic set in SimSo and prints jobs done and CPU seconds.

Arguments: PERIOD_US:WORK_US for each task. One CPU, 10 s, no overheads.
"""

import contextlib
import io
import sys
import time

from simso.configuration import Configuration
from simso.core import Model

SECONDS = 10

configuration = Configuration()
configuration.cycles_per_ms = 1_000_000
configuration.duration = SECONDS * 1000 * configuration.cycles_per_ms
for number, argument in enumerate(sys.argv[1:], 1):
    period_us, work_us = map(int, argument.split(":"))
    configuration.add_task(
        name=f"t{number}",
        identifier=number,
        period=period_us / 1000,
        activation_date=0,
        wcet=work_us / 1000,
        deadline=period_us / 1000,
    )
configuration.add_processor(name="CPU 0", identifier=1)
configuration.scheduler_info.clas = "simso.schedulers.RM"
configuration.check_all()

best = float("inf")
for _ in range(2):
    model = Model(configuration)
    began = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        model.run_model()
    best = min(best, time.process_time() - began)
jobs = sum(
    1 for task in model.results.tasks.values() for job in task.jobs if job.end_date is not None
)
print(jobs, best)
