#!/usr/bin/env bash
# Path 3 of the runbook on a real cluster of one node, from nothing to its emergencies; run by hand, ten to fifteen minutes.
# It makes the namespace churn-mlops, and leaves it. Each step says what was seen and how long it took; the first that
# fails ends it.
#
#   the images techitfactory/churn-ml and churn-api, postgres and busybox must be on the node, or a registry be reachable
#   KUBECTL         the command (kubectl); also one of several words
#   ON_NODE         what goes before curl where forwarded ports are not on this machine's loopback (nothing)
#   ROLLBACK_IMAGE  image of the pod that copies a model (busybox)
#   FROM            number of the step to begin with (1), on a cluster where those before it have been run
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=tests/cluster/steps.sh
source tests/cluster/steps.sh
read -ra KUBECTL <<<"${KUBECTL:-kubectl}"
read -ra ON_NODE <<<"${ON_NODE:-}"
BASE=deployment/k8s/base NS=churn-mlops MODELS=/app/artifacts/models ALIAS=production_latest.joblib
DAEMON=deploy/churn-dagster-daemon LIST=/app/data/predictions/batch_predictions_latest.csv

kubectl() { # a forwarded port is remembered, and does not hold the next line up
  case " $* " in *" port-forward "*) setsid "${KUBECTL[@]}" "$@" >/dev/null 2>&1 & echo $! >"$work/by_hand" ;; *) "${KUBECTL[@]}" "$@" ;; esac
}
curl() { command "${ON_NODE[@]}" curl -sS --max-time 15 "$@"; }
k() { kubectl -n "$NS" "$@"; }
literally() { local lines; lines=$(block kubectl "$1"); (set -e; eval "$lines"); } # literally HEADING: the runbook's lines

# A forwarded port ends with the pod behind it: so it is made anew when nothing answers.
work=$(mktemp -d)
end_forward() { [[ ! -s $work/$1 ]] || kill -- "-$(cat "$work/$1")" 2>/dev/null || true; rm -f "$work/$1"; }
forward() { # forward SERVICE PORT
  end_forward "$1"
  setsid "${KUBECTL[@]}" -n "$NS" port-forward "svc/$1" "$2:$2" >/dev/null 2>&1 &
  echo $! >"$work/$1"
}
reach() { # reach SERVICE PORT PATH
  local left
  for left in {60..0}; do
    command "${ON_NODE[@]}" curl -fsS --max-time 5 "http://127.0.0.1:$2$3" -o /dev/null 2>/dev/null && return
    ((left % 10)) || forward "$1" "$2"
    sleep 1
  done
  no "$1 does not answer"
}
trap 'for one in "$work"/*; do end_forward "$(basename "$one")"; done; rm -rf "$work"' EXIT
api() { local path=$1; shift; reach churn-api 8000 /live; curl "$@" "http://127.0.0.1:8000$path"; }
dagster() { local path=$1; shift; reach churn-dagster-webserver 3000 /server_info; curl "$@" "http://127.0.0.1:3000$path"; }

predict() { risk "$(k exec deploy/churn-api -- sed -n 2p $LIST | cut -d, -f1 | tr -d '"')"; }
churn() { k exec $DAEMON -- churn "$@"; }
production() { k exec deploy/churn-api -- cat /app/artifacts/metrics/production_latest.json | field '["artifact"]' | sed 's|.*/||; s|\.joblib$||'; }
other() { # the newest version that is not the same model as the one that serves
  k exec deploy/churn-api -- sh -c "cd $MODELS && for one in \$(ls -t *Z.joblib); do cmp -s \$one $ALIAS || { echo \${one%.joblib}; break; }; done"
}
serves_the_same_as() { # of versions with the same bytes, the service names the one that served before
  k exec deploy/churn-api -- cmp "$MODELS/$(serves).joblib" "$MODELS/$1.joblib"
}
restarts() { k get pods -l app=churn-api -o 'jsonpath={.items[*].metadata.name} {.items[*].status.containerStatuses[*].restartCount}'; }
image() { k get "$1" -o 'jsonpath={.spec.template.spec.containers[0].image}'; }
rolled_out() { local one; for one; do k rollout status "$one" --timeout=600s; done; }
job_done() { # job_done NAME: complete, or a failure is told at once
  local until=$((SECONDS + 600)) state
  while ((SECONDS < until)); do
    state=$(k get job "$1" -o 'jsonpath={.status.succeeded}/{.status.conditions[?(@.type=="Failed")].status}')
    case $state in 1/*) return 0 ;; */True) k logs "job/$1" --tail=20; no "job $1 failed" ;; esac
    sleep 2
  done
  no "job $1 has not ended"
}
exit_code() { # of a Job's pod; nothing before it has ended
  k get pods -l "job-name=$1" -o 'jsonpath={.items[0].status.containerStatuses[0].state.terminated.exitCode}' | grep .
}
most_memory() { # most_memory POD: MiB, the files that it has read included; nothing if it does not run
  k exec "$1" -- sh -c 'cat /sys/fs/cgroup/memory.peak 2>/dev/null || cat /sys/fs/cgroup/memory/memory.max_usage_in_bytes' 2>/dev/null | awk '{print int($1 / 1048576)}'
}
run_in_a_pod() { # run_in_a_pod RUN: it has one of its own, of the code location's image, and ends well
  local pod most="" now
  eventually 240 k get "job/dagster-run-$1"
  [[ $(image "job/dagster-run-$1") == $(image deploy/churn-dagster-code) ]] || no "another image"
  pod=$(k get pods -l "job-name=dagster-run-$1" -o name)
  until [[ $(k get "$pod" -o 'jsonpath={.status.phase}') =~ Succeeded|Failed ]]; do
    now=$(most_memory "$pod" || true); most=${now:-$most}
    sleep 1
  done
  eventually 120 ended "$1"
  job_done "dagster-run-$1"
  tell "run $1: well, in $pod; at most ${most:-?} MiB"
}
asking() { # asking COMMAND ...: while it runs, the Service is asked from within the cluster; every answer must be good
  k exec -i $DAEMON -- python - $LIST >"$work/asked" <<'P' &
import csv, json, pathlib, sys, time, urllib.request
user = next(csv.DictReader(open(sys.argv[1], newline="")))["user_id"]
body, enough, good, bad = json.dumps({"user_id": user}).encode(), pathlib.Path("/tmp/enough"), 0, []
enough.unlink(missing_ok=True)
while not enough.exists():
    try:
        asked = urllib.request.Request("http://churn-api:8000/predict", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(asked, timeout=10) as answer:
            good += answer.status == 200
    except Exception as error:
        bad.append(repr(error))
    time.sleep(0.02)
print(f"{good} good answers and {len(bad)} bad ones", *bad[:3])
P
  local asks=$!
  "$@"
  k exec $DAEMON -- touch /tmp/enough
  wait $asks
  tell "meanwhile $(cat "$work/asked")"
  grep -q '[1-9].* and 0 bad' "$work/asked" || no "requests were lost"
}

# --- the steps

day_1() { literally "## Day 1: initial deployment"; end_forward by_hand; }
what_day_1_left() {
  [[ $(k get pvc churn-mlops-pvc -o 'jsonpath={.status.phase}') == Bound ]] || no "the volume is not bound"
  for wanted in baseline_logreg_ candidate_hgb_ $ALIAS; do
    k exec deploy/churn-api -- ls $MODELS/ | grep -q "^$wanted" || no "no $wanted"
  done
  tell "ready: $(ready)"
  (($(api /metrics | grep -c '^churn_') > 10)) || no "no metrics"
  tell "a prediction: $(predict)"
  [[ $(k get cronjobs -o 'jsonpath={.items[*].spec.suspend}') == "true true" ]] || no "the CronJobs are not suspended"
}
dagster_installed() {
  k get secret churn-postgres >/dev/null 2>&1 \
    || k create secret generic churn-postgres --from-literal="postgresql-password=$(od -An -tx1 -N24 /dev/urandom | tr -d ' \n')" >/dev/null
  kubectl apply -k deployment/k8s/overlays/minikube
  rolled_out statefulset/churn-postgres deployment/churn-dagster-{code,webserver,daemon} deployment/churn-api
  eventually 60 location_is_loaded
  eventually 120 daemon_is_well
  churn status || (($? == 3)) || no "churn status"
}
a_run() {
  local run before next was; before=$(restarts)
  run=$(launch retrain_job)
  run_in_a_pod "$run"
  eventually 30 serves_now "$(production)"
  tell "serves $(serves), as the registry has it"
  next=$(other) was=$(predict)
  churn models promote "$next" --reason "path 3: a model takes over without a restart"
  eventually 30 serves_now "$next"
  tell "serves $next: $(predict), before $was"
  [[ $(predict) != "$was" ]] || no "the answer is as before"
  [[ $(restarts) == "$before" ]] || no "the service was restarted"
}
retrain_by_hand() {
  local name; name=retrain-manual-$(date +%s)
  k create job --from=cronjob/churn-retrain-weekly "$name"
  job_done "$name"
  k logs "job/$name" --tail=12
  [[ $(runs 1) == "[{'status': 'SUCCESS', 'jobName': 'retrain_job'}]" ]] || no "not in Dagster's database: $(runs 3)"
  eventually 30 serves_now "$(production)"
}
drift_by_hand() {
  local name; name=drift-manual-$(date +%s)
  k create job --from=cronjob/churn-drift-daily "$name"
  eventually 300 exit_code "$name"
  tell "exit code $(exit_code "$name")"
  [[ $(exit_code "$name") == [02] ]] || no "$(k logs "job/$name" --tail=5)"
}
restart_and_undo() {
  k rollout restart deployment/churn-api
  rolled_out deployment/churn-api
  k rollout undo deployment/churn-api
  rolled_out deployment/churn-api
}
three_and_two() {
  k scale deployment/churn-api --replicas=3
  rolled_out deployment/churn-api
  [[ $(k get deployment churn-api -o 'jsonpath={.status.readyReplicas}') == 3 ]] || no "not three replicas"
  k scale deployment/churn-api --replicas=2
  eventually 90 two_pods
}
two_pods() { [[ $(k get pods -l app=churn-api -o name | wc -l) == 2 ]]; }
rollouts() {
  asking restart_and_undo
  asking three_and_two
  tell "ready: $(ready)"
  churn models list
}
configuration() { # a schedule that is due each minute
  KUBE_EDITOR="sed -i 's/drift: \"0 1 /drift: \"* * /; s/drift: \"\\* \\* \\* \\* \\*/drift: \"* * * * */'" k edit configmap churn-mlops-config
  k rollout restart deployment/churn-api deployment/churn-dagster-code
  rolled_out deployment/churn-api deployment/churn-dagster-code
  k exec deploy/churn-api -- grep -qF 'drift: "* * * * *"' /app/config/config.yaml || no "the pods have the old file"
}
a_schedule_fires() {
  local run
  eventually 240 newest_run dagster/schedule_name drift_daily
  run=$(newest_run dagster/schedule_name drift_daily)
  run_in_a_pod "$run"
  kubectl apply -f $BASE/configmap.yaml
  k rollout restart deployment/churn-dagster-code
  rolled_out deployment/churn-dagster-code
  churn status --json | grep -q 'drift_daily.* 01:00' || no "the schedule is not as before"
}
rollback_by_copy() {
  local old; old=$(other)
  k run rollback-pod --rm -i --restart=Never --image="${ROLLBACK_IMAGE:-busybox}" --overrides='
    {"spec": {"containers": [{"name": "rollback", "image": "'"${ROLLBACK_IMAGE:-busybox}"'",
       "command": ["sh", "-c", "cp /pvc/artifacts/models/'"$old"'.joblib /pvc/artifacts/models/'"$ALIAS"'"],
       "volumeMounts": [{"name": "storage", "mountPath": "/pvc"}]}],
     "volumes": [{"name": "storage", "persistentVolumeClaim": {"claimName": "churn-mlops-pvc"}}]}}'
  eventually 30 serves_the_same_as "$old"
  churn models history --last 2
  churn models history --last 5 --json | grep -q outside || no "the history does not know"
}
rollback_by_command() { churn models rollback --reason "path 3"; eventually 30 serves_now "$(production)"; tell "serves $(serves)"; }
corrupted_model() {
  local before; before=$(serves)
  k exec deploy/churn-api -- sh -c "head -c 1000 /dev/urandom >$MODELS/$ALIAS"
  eventually 30 degraded
  serves_now "$before" || no "another model serves"
  tell "still serves $before: $(predict)"
  churn models verify && no "verify found nothing"
  churn models rollback --reason "path 3: damaged alias"
  eventually 60 well
}
deleted_alias() {
  k exec deploy/churn-api -- rm $MODELS/$ALIAS
  eventually 30 degraded
  tell "still serves $(serves): $(predict)"
  k delete job churn-seed-model --ignore-not-found
  kubectl apply -f $BASE/seed-model-job.yaml
  job_done churn-seed-model
  k rollout restart deployment/churn-api
  rolled_out deployment/churn-api
  well || no "$(ready)"
  tell "serves $(serves)"
}
api_pod_killed() {
  k delete pod --force --grace-period=0 "$(k get pods -l app=churn-api -o 'jsonpath={.items[0].metadata.name}')"
  tell "meanwhile: $(predict)"
  rolled_out deployment/churn-api
}
daemon_killed_during_a_run() {
  local run; run=$(launch retrain_job)
  eventually 180 k get "job/dagster-run-$run"
  k delete pod --force --grace-period=0 -l app=churn-dagster-daemon
  eventually 600 ended "$run"
  rolled_out deployment/churn-dagster-daemon
  run=$(launch retrain_job)
  run_in_a_pod "$run"
}
database_restarted() {
  k delete pod churn-postgres-0
  rolled_out statefulset/churn-postgres
  eventually 120 database_answers
  local run; run=$(launch retrain_job)
  run_in_a_pod "$run"
}
the_loop() { # people change, the daemon notices by itself, and the service answers with a model of its own choice
  local alert before run; before=$(restarts)
  churn demo-drift
  churn drift && no "no alert" || (($? == 2)) || no "churn drift"
  alert=$SECONDS
  eventually 240 newest_run dagster/sensor_name drift_alert_retrain
  run=$(newest_run dagster/sensor_name drift_alert_retrain)
  run_in_a_pod "$run"
  churn models history --last 3
  eventually 30 serves_now "$(production)"
  tell "serves $(serves), $((SECONDS - alert)) s after the alert"
  [[ $(restarts) == "$before" ]] || no "the service was restarted"
  churn demo-drift --off
}
by_the_book() {
  for one in "### Daily checklist" "### Issue: CronJob never runs" "### Issue: seed job fails" "### Weekly tasks"; do
    tell "$one"; literally "$one" >/dev/null
  done
}
disk() {
  k exec deploy/churn-api -- df -h /app/data /app/artifacts
  churn clean --predictions-older-than 30d --dry-run
  for pod in $(k get pods --field-selector=status.phase=Running -o name); do tell "$pod: at most $(most_memory "$pod") MiB"; done
}

step "day 1, the runbook's lines as they stand" day_1
step "what day 1 has left: files, /ready, /metrics, a prediction, CronJobs that wait" what_day_1_left
step "Dagster: PostgreSQL, code location, webserver, daemon" dagster_installed
step "a run gets a pod of its own; the service takes a model up without a restart" a_run
step "kubectl create job --from=cronjob/churn-retrain-weekly" retrain_by_hand
step "kubectl create job --from=cronjob/churn-drift-daily" drift_by_hand
step "rollout restart, undo, scale" rollouts
step "another configuration" configuration
step "a schedule fires by itself" a_schedule_fires
step "rollback: a model copied by a pod" rollback_by_copy
step "rollback: one command" rollback_by_command
step "the model's file is damaged" corrupted_model
step "the alias is deleted; seeded again" deleted_alias
step "a pod of the service is killed" api_pod_killed
step "the daemon is killed during a run" daemon_killed_during_a_run
step "the database is restarted" database_restarted
step "people change: a sensor fires by itself, a retrain answers, the service follows" the_loop
step "more of the runbook's lines" by_the_book
step "disk and memory" disk
echo "all of it"
