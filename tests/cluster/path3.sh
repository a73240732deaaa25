#!/usr/bin/env bash
# Path 3 of the runbook on a real cluster of one node, from nothing to its emergencies; run by hand, some ten minutes.
# It makes the namespace churn-mlops, and leaves it. Each step says what was seen and how long it took; the first that
# fails ends it.
#
#   the images techitfactory/churn-ml and churn-api, postgres and busybox must be on the node, or a registry be reachable
#   KUBECTL         the command (kubectl); also one of several words
#   ON_NODE         what goes before curl where forwarded ports are not on this machine's loopback (nothing)
#   ROLLBACK_IMAGE  image of the pod that copies a model (busybox)
#   FROM            number of the step to begin with (1), on a cluster where those before it have been run
set -euo pipefail
exec 3>&2   # what is being waited for says nothing, but for its failure
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
read -ra KUBECTL <<<"${KUBECTL:-kubectl}"
read -ra ON_NODE <<<"${ON_NODE:-}"
BASE=deployment/k8s/base NS=churn-mlops MODELS=/app/artifacts/models ALIAS=production_latest.joblib

kubectl() { "${KUBECTL[@]}" "$@"; }
k() { kubectl -n "$NS" "$@"; }
tell() { printf '    %s\n' "$*"; }
no() { printf 'FAILED: %s\n' "$*" >&3; exit 1; }
eventually() { # eventually SECONDS COMMAND ...
  local until=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do ((SECONDS < until)) || no "not within the time: $*"; sleep 1; done
}
step() { # step NAME FUNCTION
  number=$((number + 1)); ((number >= ${FROM:-1})) || return 0
  printf '%2d  %s\n' "$number" "$1"; local began=$SECONDS; "$2"; printf '    %d s\n' $((SECONDS - began))
}
number=0

# A forwarded port ends with the pod behind it: so it is made anew when nothing answers.
work=$(mktemp -d)
end_forward() { [[ ! -s $work/$1 ]] || kill -- "-$(cat "$work/$1")" 2>/dev/null || true; }
forward() { # forward SERVICE PORT
  end_forward "$1"
  setsid "${KUBECTL[@]}" -n "$NS" port-forward "svc/$1" "$2:$2" >/dev/null 2>&1 &
  echo $! >"$work/$1"
}
curl() { command "${ON_NODE[@]}" curl -sS --max-time 15 "$@"; }
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

field() { python3 -c 'import json, sys; print(json.load(sys.stdin)'"$1"')'; }
ready() { reach churn-api 8000 /live; curl http://127.0.0.1:8000/ready; }
serves() { ready | field '["model_version"]'; }
serves_now() { [[ $(serves) == "$1" ]]; }
degraded() { [[ $(ready | field '.get("degraded", [])') != "[]" ]]; }
well() { [[ $(ready | field '.get("degraded", [])') == "[]" && -n $(serves) ]]; }
predict() {
  local user; user=$(k exec deploy/churn-api -- sed -n 2p /app/data/predictions/batch_predictions_latest.csv | cut -d, -f1 | tr -d '"')
  reach churn-api 8000 /live
  curl -f -X POST http://127.0.0.1:8000/predict -H 'Content-Type: application/json' -d "{\"user_id\": \"$user\"}" | field '["churn_risk"]'
}
churn() { k exec deploy/churn-dagster-daemon -- churn "$@"; }
production() { k exec deploy/churn-api -- cat /app/artifacts/metrics/production_latest.json | field '["artifact"]' | sed 's|.*/||; s|\.joblib$||'; }
graphql() { reach churn-dagster-webserver 3000 /server_info; curl -f -H 'Content-Type: application/json' http://127.0.0.1:3000/graphql -d "$1"; }
launch() { # launch JOB: the id of a run that waits in the queue
  graphql '{"query": "mutation {launchRun(executionParams: {selector: {repositoryLocationName: \"churn\", repositoryName: \"__repository__\", jobName: \"'"$1"'\"}}) {__typename ... on LaunchRunSuccess {run {runId}} ... on PythonError {message}}}"}' \
    | field '["data"]["launchRun"]["run"]["runId"]'
}
status() { graphql '{"query": "{runOrError(runId: \"'"$1"'\") {... on Run {status}}}"}' | field '["data"]["runOrError"]["status"]'; }
ended() { case $(status "$1") in SUCCESS) ;; FAILURE | CANCELED) no "run $1: $(status "$1")" ;; *) return 1 ;; esac; }
restarts() { k get pods -l app=churn-api -o 'jsonpath={.items[*].metadata.name} {.items[*].status.containerStatuses[*].restartCount}'; }
other() { k exec deploy/churn-api -- ls "$MODELS" | sed -n 's/^\([bc][a-z]*_[a-z]*_.*Z\)\.joblib$/\1/p' | grep -v "^$(serves)\$" | tail -1; }
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

# --- the steps

day_1() {
  kubectl apply -f $BASE/namespace.yaml
  kubectl apply -f $BASE/pvc.yaml
  kubectl apply -f $BASE/configmap.yaml
  kubectl apply -f $BASE/seed-model-job.yaml
  k wait --for=condition=complete job/churn-seed-model --timeout=600s
  k get pvc
  k logs job/churn-seed-model --tail=20
}
day_1_service() {
  kubectl apply -f $BASE/api-deployment.yaml
  kubectl apply -f $BASE/api-service.yaml
  k wait --for=condition=ready pod -l app=churn-api --timeout=120s
  k exec deploy/churn-api -- ls -l $MODELS/
  for wanted in baseline_logreg_ candidate_hgb_ $ALIAS; do
    k exec deploy/churn-api -- ls $MODELS/ | grep -q "^$wanted" || no "no $wanted"
  done
  tell "ready: $(ready)"
  (($(curl http://127.0.0.1:8000/metrics | grep -c '^churn_') > 10)) || no "no metrics"
  tell "a prediction: $(predict)"
}
day_1_automation() {
  kubectl apply -f $BASE/drift-cronjob.yaml
  kubectl apply -f $BASE/retrain-cronjob.yaml
  k get cronjobs
  [[ $(k get cronjobs -o 'jsonpath={.items[*].spec.suspend}') == "true true" ]] || no "they are not suspended"
}
dagster() {
  k get secret churn-postgres >/dev/null 2>&1 \
    || k create secret generic churn-postgres --from-literal="postgresql-password=$(od -An -tx1 -N24 /dev/urandom | tr -d ' \n')" >/dev/null
  kubectl apply -k deployment/k8s/overlays/minikube
  k rollout status statefulset/churn-postgres --timeout=300s
  for one in code webserver daemon; do k rollout status "deployment/churn-dagster-$one" --timeout=600s; done
  k rollout status deployment/churn-api --timeout=300s
  churn status || (($? == 3)) || no "churn status"
}
run_in_a_pod() {
  local run before; before=$(restarts)
  run=$(launch retrain_job)
  tell "run $run"
  eventually 180 k get "job/dagster-run-$run"
  [[ $(k get "job/dagster-run-$run" -o 'jsonpath={.spec.template.spec.containers[0].image}') \
    == $(k get deploy churn-dagster-code -o 'jsonpath={.spec.template.spec.containers[0].image}') ]] || no "another image"
  eventually 600 ended "$run"
  job_done "dagster-run-$run"
  eventually 30 serves_now "$(production)"
  tell "serves $(serves), as the registry has it"
  local next; next=$(other)
  churn models promote "$next" --reason "path 3: a model takes over without a restart"
  eventually 30 serves_now "$next"
  [[ $(restarts) == "$before" ]] || no "the service was restarted"
  tell "serves $next, and no pod was restarted"
}
retrain_by_hand() {
  local name; name=retrain-manual-$(date +%s)
  k create job --from=cronjob/churn-retrain-weekly "$name"
  job_done "$name"
  k logs "job/$name" --tail=12
  local runs; runs=$(graphql '{"query": "{runsOrError(limit: 1) {... on Runs {results {status tags {key value}}}}}"}')
  grep -q 'churn retrain' <<<"$runs" || no "the run is not in Dagster's database"
  [[ $(field '["data"]["runsOrError"]["results"][0]["status"]' <<<"$runs") == SUCCESS ]] || no "$runs"
  k exec deploy/churn-api -- cat /app/artifacts/metrics/production_latest.json >/dev/null
}
drift_by_hand() {
  local name; name=drift-manual-$(date +%s)
  k create job --from=cronjob/churn-drift-daily "$name"
  eventually 300 exit_code "$name"
  tell "exit code $(exit_code "$name")"
  [[ $(exit_code "$name") == [02] ]] || no "$(k logs "job/$name" --tail=5)"
}
rollouts() {
  k rollout restart deployment/churn-api
  k rollout status deployment/churn-api --timeout=180s
  k rollout undo deployment/churn-api
  k rollout status deployment/churn-api --timeout=180s
  k scale deployment/churn-api --replicas=3
  k rollout status deployment/churn-api --timeout=180s
  [[ $(k get deployment churn-api -o 'jsonpath={.status.readyReplicas}') == 3 ]] || no "not three replicas"
  k scale deployment/churn-api --replicas=2
  tell "ready: $(ready)"
  churn models list
}
configuration() {
  KUBE_EDITOR="sed -i 's/0 1 \\* \\* \\*/30 1 * * */'" k edit configmap churn-mlops-config
  k rollout restart deployment/churn-api deployment/churn-dagster-code
  k rollout status deployment/churn-api --timeout=180s
  k rollout status deployment/churn-dagster-code --timeout=300s
  k exec deploy/churn-api -- grep -q '30 1' /app/config/config.yaml || no "the pods have the old file"
  kubectl apply -f $BASE/configmap.yaml
  k rollout restart deployment/churn-dagster-code
  k rollout status deployment/churn-dagster-code --timeout=300s
}
rollback_by_copy() {
  local old; old=$(other)
  k run rollback-pod --rm -i --restart=Never --image="${ROLLBACK_IMAGE:-busybox}" --overrides='
    {"spec": {"containers": [{"name": "rollback", "image": "'"${ROLLBACK_IMAGE:-busybox}"'",
       "command": ["sh", "-c", "cp /pvc/artifacts/models/'"$old"'.joblib /pvc/artifacts/models/'"$ALIAS"'"],
       "volumeMounts": [{"name": "storage", "mountPath": "/pvc"}]}],
     "volumes": [{"name": "storage", "persistentVolumeClaim": {"claimName": "churn-mlops-pvc"}}]}}'
  eventually 30 serves_now "$old"
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
  sleep 3
  tell "still serves $(serves): $(predict)"
  k delete job churn-seed-model --ignore-not-found
  kubectl apply -f $BASE/seed-model-job.yaml
  job_done churn-seed-model
  k rollout restart deployment/churn-api
  k rollout status deployment/churn-api --timeout=180s
  well || no "$(ready)"
  tell "serves $(serves)"
}
api_pod_killed() {
  k delete pod --force --grace-period=0 "$(k get pods -l app=churn-api -o 'jsonpath={.items[0].metadata.name}')"
  tell "meanwhile: $(predict)"
  k rollout status deployment/churn-api --timeout=120s
}
daemon_killed_during_a_run() {
  local run; run=$(launch retrain_job)
  eventually 180 k get "job/dagster-run-$run"
  k delete pod --force --grace-period=0 -l app=churn-dagster-daemon
  eventually 600 ended "$run"
  k rollout status deployment/churn-dagster-daemon --timeout=300s
  run=$(launch retrain_job)
  eventually 600 ended "$run"
  tell "the run ended well, and so did the one after it"
}
database_restarted() {
  k delete pod churn-postgres-0
  k rollout status statefulset/churn-postgres --timeout=300s
  eventually 120 launch retrain_job
  local run; run=$(launch retrain_job)
  eventually 600 ended "$run"
  tell "runs go on"
}
disk() { k exec deploy/churn-api -- df -h /app/data /app/artifacts; churn clean --predictions-older-than 30d --dry-run; }

step "day 1: namespace, volume, configuration, seed Job" day_1
step "day 1: service, port-forward, /ready, /metrics, a prediction" day_1_service
step "day 1: CronJobs, suspended" day_1_automation
step "Dagster: PostgreSQL, code location, webserver, daemon" dagster
step "a run gets a pod of its own; the service takes its model up" run_in_a_pod
step "kubectl create job --from=cronjob/churn-retrain-weekly" retrain_by_hand
step "kubectl create job --from=cronjob/churn-drift-daily" drift_by_hand
step "rollout restart, undo, scale" rollouts
step "another configuration" configuration
step "rollback: a model copied by a pod" rollback_by_copy
step "rollback: one command" rollback_by_command
step "the model's file is damaged" corrupted_model
step "the alias is deleted; seeded again" deleted_alias
step "a pod of the service is killed" api_pod_killed
step "the daemon is killed during a run" daemon_killed_during_a_run
step "the database is restarted" database_restarted
step "disk" disk
echo "all of it"
