"""A nightly `embermill sync` on a Ray cluster, for Airflow 3: copy this file into the dags folder, and change the four names at its top.

Airflow's environment needs the client of Ray's Jobs API alone, `pip install ray requests aiohttp`, and the cluster's token in RAY_AUTH_TOKEN or
RAY_AUTH_TOKEN_PATH if it has one. embermill is on the cluster (infra/guides/clusters.md).

    exit code 33   interrupted or transient: repeated at most ten times, after 15 s, 30 s, … up to 15 minutes; it resumes from what is committed
    1, 2, 3, 4     fail the task at once: nothing of it would be better the next time
    a lost head    counts as 33: what is committed is in the dataset, not on the cluster
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG, BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

ADDRESS = "http://HEAD:8265"
COMMAND = "embermill sync /shared/job.yaml --set ray.address=auto --json"
NAME = "articles"
SCHEDULE = "0 2 * * *"

INTERRUPTED = 33
LOOK_EVERY_S = 10.0
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
REPEATING: dict[str, Any] = {  # how 33 is repeated; True would mean a factor of 1 to Airflow 3.3
    "retries": 10, "retry_delay": timedelta(seconds=15), "retry_exponential_backoff": 2.0, "max_retry_delay": timedelta(minutes=15),
}  # fmt: skip
GRACE_S = "60"  # of `ray job stop`: the driver commits what is ready; Ray's own default is 3 s


class EmbermillJob(BaseOperator):
    """A command of embermill on a cluster, as a job of Ray's. Its exit code decides: see above."""

    template_fields = ("address", "command", "job_name")

    def __init__(self, *, address: str, command: str, job_name: str, **more: Any) -> None:
        super().__init__(**REPEATING | more)
        self.address, self.command, self.job_name = address, command, job_name
        self._submitted: str | None = None

    def execute(self, context: Any) -> None:
        from ray.job_submission import JobSubmissionClient

        instance = context["ti"]
        job = f"{self.job_name}-{instance.run_id}-{instance.try_number}".replace(":", "-").replace("+", "-")
        try:
            client = JobSubmissionClient(self.address)
            self._submit(client, job)
            code = self._await_end(client, job)
        except (ConnectionError, OSError, RuntimeError) as error:
            raise AirflowException(f"{self.address}: {error}: it is tried again, and resumes from what is committed") from error
        if code == INTERRUPTED:
            raise AirflowException(f"{job}: exit code {INTERRUPTED}, interrupted or transient: it is repeated, and resumes from what is committed")
        if code != 0:
            raise AirflowFailException(f"{job}: exit code {code}: it is not repeated; the job's log says what to fix")

    def on_kill(self) -> None:
        """Airflow ends the task: the driver is told to end in order."""
        if self._submitted is not None:
            from ray.job_submission import JobSubmissionClient

            JobSubmissionClient(self.address).stop_job(self._submitted)

    def _submit(self, client: Any, job: str) -> None:
        """A worker of Airflow that was restarted finds its job there, and follows it."""
        if job not in {each.submission_id for each in client.list_jobs()}:
            environment = {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": GRACE_S}}
            client.submit_job(entrypoint=self.command, submission_id=job, runtime_env=environment, metadata={"embermill.name": self.job_name})
        self._submitted = job

    def _await_end(self, client: Any, job: str) -> int:
        """The driver's exit code; 33 where it has none: it was killed, or its node was lost."""
        while str(getattr((found := client.get_job_info(job)).status, "value", found.status)) not in ENDED:
            time.sleep(LOOK_EVERY_S)
        self.log.info("%s", client.get_job_logs(job)[-20_000:])
        code = found.driver_exit_code
        return INTERRUPTED if code is None or code < 0 or code > 128 else int(code)


with DAG(
    dag_id="embermill_sync",
    schedule=SCHEDULE,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,  # a second one would exit with code 4
    dagrun_timeout=timedelta(hours=20),
    tags=["embermill"],
) as dag:
    EmbermillJob(task_id="sync", address=ADDRESS, command=COMMAND, job_name=NAME)
