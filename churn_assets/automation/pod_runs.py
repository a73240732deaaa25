"""Dagster's launcher of a pod a run, for a cluster where commands run jobs as well.

Dagster takes every started run for one of the launcher's own, looks for its Job, finds none, and calls the run failed
while it works. A run that a command has started says in which pod: that pod is looked for instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster_k8s.launcher import K8sRunLauncher
from kubernetes.client.rest import ApiException  # type: ignore[import-untyped]

from churn_assets.automation.launch import PROCESS

if TYPE_CHECKING:
    import dagster as dg

GONE = 404
ENDED = ("Succeeded", "Failed")


class PodRunLauncher(K8sRunLauncher):
    """Starts a pod a run, and knows the runs of commands from those whose pod has died."""

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether what executes a run still lives: the pod of the command that began it, else the run's own Job."""
        if PROCESS not in run.tags:
            of_job: CheckRunHealthResult = super().check_run_worker_health(run)
            return of_job
        pod = run.tags[PROCESS].rpartition(":")[0]
        try:
            phase = self._api_client.get_pod_by_name(pod, self.job_namespace).status.phase
        except ApiException as error:
            if error.status != GONE:
                return CheckRunHealthResult(WorkerStatus.RUNNING, f"nobody can tell: {error.reason}")
            phase = "gone"
        if phase in ENDED or phase == "gone":
            return CheckRunHealthResult(WorkerStatus.FAILED, f"the pod {pod} of the command that ran this is {phase}")
        return CheckRunHealthResult(WorkerStatus.RUNNING)
