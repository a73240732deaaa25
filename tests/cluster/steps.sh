# What the scripts beside it share: steps that say what was seen and how long it took, and the system's own doors.
# Sourced from the top folder; each script says where the doors are:
#   api PATH [CURL OPTIONS ...]   the scoring service
#   dagster PATH [CURL OPTIONS ...]   Dagster's webserver
# shellcheck shell=bash

exec 3>&2   # what is being waited for says nothing, but for its failure

tell() { printf '    %s\n' "$*"; }
no() { printf 'FAILED: %s\n' "$*" >&3; exit 1; }
eventually() { # eventually SECONDS COMMAND ...
  local until=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do ((SECONDS < until)) || no "not within the time: $*"; sleep 1; done
}
number=0
step() { # step NAME FUNCTION
  number=$((number + 1)); ((number >= ${FROM:-1})) || return 0
  printf '%2d  %s\n' "$number" "$1"; local began=$SECONDS; "$2"; printf '    %d s\n' $((SECONDS - began))
}

block() { # block KIND HEADING: the first block of a kind below a heading of the runbook
  awk -v heading="$2" -v fence="\`\`\`$1" '
    $0 == heading {below = 1; next}
    below && !inside && $0 == fence {inside = 1; next}
    inside && $0 == "```" {exit}
    inside' deployment/RUNBOOK.md | grep . || no "the runbook has no such block: $2"
}

field() { python3 -c 'import json, sys; print(json.load(sys.stdin)'"$1"')'; }

# The service: which model answers, and is anything wrong with it?
ready() { api /ready; }
serves() { ready | field '["model_version"]'; }
serves_now() { [[ $(serves) == "$1" ]]; }
degraded() { [[ $(ready | field '.get("degraded", [])') != "[]" ]]; }
well() { [[ $(ready | field '.get("degraded", [])') == "[]" && -n $(serves) ]]; }
risk() { api /predict -f -X POST -H 'Content-Type: application/json' -d "{\"user_id\": \"$1\"}" | field '["churn_risk"]'; } # risk USER

# Dagster: runs that are asked for, and what became of them.
graphql() { dagster /graphql -f -H 'Content-Type: application/json' -d "$1"; }
launch() { # launch JOB: the id of a run that waits in the queue
  graphql '{"query": "mutation {launchRun(executionParams: {selector: {repositoryLocationName: \"churn\", repositoryName: \"__repository__\", jobName: \"'"$1"'\"}}) {__typename ... on LaunchRunSuccess {run {runId}} ... on PythonError {message}}}"}' \
    | field '["data"]["launchRun"]["run"]["runId"]'
}
database_answers() { # by each of the webserver's connections: one that the database has closed fails once, also amid a launch
  graphql '{"query": "{runsOrError(limit: 1) {... on Runs {results {eventConnection(limit: 1) {events {__typename}}}}} schedulesOrError(repositorySelector: {repositoryName: \"__repository__\", repositoryLocationName: \"churn\"}) {... on Schedules {results {scheduleState {ticks(limit: 1) {id}}}}}}"}' \
    | grep -q '"ticks"'
}
status() { graphql '{"query": "{runOrError(runId: \"'"$1"'\") {... on Run {status}}}"}' | field '["data"]["runOrError"]["status"]'; }
ended() { # ended RUN: well; if not well, that is told at once
  local state; state=$(status "$1")
  case $state in SUCCESS) ;; FAILURE | CANCELED) no "run $1: $state" ;; *) return 1 ;; esac
}
newest_run() { # newest_run TAG VALUE: the id of the newest run that has the tag
  graphql '{"query": "{runsOrError(limit: 1, filter: {tags: [{key: \"'"$1"'\", value: \"'"$2"'\"}]}) {... on Runs {results {runId}}}}"}' \
    | field '["data"]["runsOrError"]["results"][0]["runId"]'
}
runs() { graphql '{"query": "{runsOrError(limit: '"$1"') {... on Runs {results {status jobName}}}}"}' | field '["data"]["runsOrError"]["results"]'; } # runs COUNT: the newest
location_is_loaded() {
  [[ $(graphql '{"query": "{workspaceOrError {... on Workspace {locationEntries {name locationOrLoadError {__typename}}}}}"}' \
    | field '["data"]["workspaceOrError"]["locationEntries"]') == "[{'name': 'churn', 'locationOrLoadError': {'__typename': 'RepositoryLocation'}}]" ]]
}
daemon_is_well() {
  graphql '{"query": "{instance {daemonHealth {allDaemonStatuses {daemonType required healthy}}}}"}' \
    | python3 -c 'import json, sys
tasks = json.load(sys.stdin)["data"]["instance"]["daemonHealth"]["allDaemonStatuses"]
sys.exit(not (tasks and all(task["healthy"] for task in tasks if task["required"])))'
}
