#!/usr/bin/env bash
# deployment/compose.yaml on a real engine, from nothing to an alert that reaches somebody; run by hand, some ten minutes.
# It makes the Compose project churn-trial, with secrets of its own, and removes it at the end. Each step says what was
# seen and how long it took; the first that fails ends it.
#
#   the images techitfactory/churn-ml and churn-api are built if they are missing; the others come from a registry
#   COMPOSE  the command (docker compose); also one of several words
#   ON_HOST  what goes before curl where published ports are not on this machine's loopback (nothing)
#   WITHOUT  a service that is left out, grafana for example (nothing)
#   FROM     number of the step to begin with (1), where those before it have been run
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=tests/cluster/steps.sh
source tests/cluster/steps.sh
read -ra COMPOSE <<<"${COMPOSE:-docker compose}"
read -ra ON_HOST <<<"${ON_HOST:-}"
WITHOUT=${WITHOUT:-} ALIAS=artifacts/models/production_latest.joblib
work=${TMPDIR:-/tmp}/churn-trial

compose() { "${COMPOSE[@]}" --progress quiet -p churn-trial -f deployment/compose.yaml -f "$work/trial.yaml" "$@"; }
run_in() { compose exec -T "$@"; } # run_in SERVICE COMMAND ...
churn() { run_in dagster-daemon churn "$@"; }
curl() { command "${ON_HOST[@]}" curl -sS --max-time 15 "$@"; }
api() { local path=$1; shift; curl -H "X-API-Key: $(cat "$work/secrets/api_key.txt")" "$@" "http://127.0.0.1:8000$path"; }
dagster() { local path=$1; shift; curl "$@" "http://127.0.0.1:3000$path"; }
prometheus() { curl -f -G http://127.0.0.1:9090/api/v1/query --data-urlencode "query=$1" | field '["data"]["result"]'; } # prometheus QUERY
told() { compose logs --no-log-prefix listener | grep -q "^/$1 .*$2"; } # told RECEIVER WORD
predict() { risk "$(run_in churn-api sed -n 2p data/predictions/batch_predictions_latest.csv | cut -d, -f1 | tr -d '"')"; }

# Somebody who is told, and secrets that nobody else has.
trial() {
  mkdir -p "$work/secrets"
  cp deployment/compose/make-secrets "$work/"
  sh "$work/make-secrets" >/dev/null
  local name
  {
    cat <<'Y'
services:
  listener:
    image: techitfactory/churn-ml:${VER:-0.1.4}
    entrypoint: [python, -u, -c]
    command:
      - |
        from http.server import BaseHTTPRequestHandler, HTTPServer
        class Inbox(BaseHTTPRequestHandler):
            def do_POST(self):
                print(self.path, self.rfile.read(int(self.headers["Content-Length"])).decode(), flush=True)
                self.send_response(200)
                self.end_headers()
        HTTPServer(("", 8080), Inbox).serve_forever()
secrets:
Y
    for name in postgres_password.txt grafana_password.txt api_keys.yaml; do echo "  ${name%.*}: {file: $work/secrets/$name}"; done
    for name in tell page watchdog; do
      printf 'http://listener:8080/%s' "$name" >"$work/secrets/${name}_url.txt"
      echo "  ${name}_url: {file: $work/secrets/${name}_url.txt}"
    done
  } >"$work/trial.yaml"
}
services() { compose config --services | grep -vxF "${WITHOUT:-nothing}"; }

# --- the steps

up() {
  trial
  mapfile -t chosen < <(services)
  compose up -d --wait --wait-timeout 900 "${chosen[@]}"
  compose ps
}
service() {
  [[ $(curl -o /dev/null -w '%{http_code}' http://127.0.0.1:8000/model) == 401 ]] || no "it answers without a key"
  tell "ready: $(ready)"
  tell "a prediction: $(predict)"
  (($(api /metrics | grep -c '^churn_') > 10)) || no "no metrics"
}
a_run() {
  eventually 60 location_is_loaded
  eventually 120 daemon_is_well
  local run before after; before=$(runs_in_postgres)
  run=$(launch retrain_job)
  eventually 300 ended "$run"
  after=$(runs_in_postgres)
  tell "run $run: well; PostgreSQL had $before runs, and has $after"
  ((after > before)) || no "the run is not in PostgreSQL"
  churn status || (($? == 3)) || no "churn status"
}
runs_in_postgres() { run_in postgres psql -U dagster -d dagster -Atc 'SELECT count(*) FROM runs'; }
rollback() { # to the other kind of model and back, as the services report
  local first next
  first=$(serves) next=$(churn models list --json | field '[-1]["version"]')
  churn models promote "$next" --reason "a trial"
  eventually 30 serves_now "$next"
  churn models rollback
  eventually 30 serves_now "$first"
  tell "served $next, serves $first"
}
targets() {
  eventually 90 is_scraped churn-api
  eventually 90 is_scraped alertmanager
  tell "up: $(prometheus 'up{job="churn-api"}')"
  curl -f http://127.0.0.1:9090/api/v1/rules | field '["data"]["groups"]' | grep -q "'health': 'err'" && no "a rule does not work"
  eventually 120 is_recorded   # a rate needs two looks
}
is_recorded() { [[ $(prometheus 'job:churn_api_requests:rate5m') != "[]" ]]; }
is_scraped() { [[ $(prometheus "up{job=\"$1\"} == 1") != "[]" ]]; }
alert() { # a damaged model, until somebody is told
  eventually 120 told watchdog ChurnWatchdog
  local before; before=$(serves)
  run_in churn-api sh -c "head -c 1000 /dev/urandom >$ALIAS"
  eventually 30 degraded
  eventually 300 told page ChurnModelRefused
  tell "$(compose logs --no-log-prefix listener | grep '^/page .*ChurnModelRefused' | head -1 | cut -d' ' -f2- | field '["alerts"][0]["annotations"]["description"]')"
  serves_now "$before" || no "another model serves"
  churn models rollback --reason "a trial: damaged alias"
  eventually 60 well
}
grafana() {
  [[ $WITHOUT != grafana ]] || { tell "left out"; return; }
  curl -f -u "admin:$(cat "$work/secrets/grafana_password.txt")" 'http://127.0.0.1:3001/api/search?query=churn' | grep -q '"type":"dash-db"' || no "no dashboard"
  curl -f -u "admin:$(cat "$work/secrets/grafana_password.txt")" -G http://127.0.0.1:3001/api/datasources | grep -q '"type":"prometheus"' || no "no source"
}
down_and_up() {
  local model made; model=$(serves) made=$(runs_in_postgres)
  run_in postgres pg_dump -U dagster -Fc dagster >"$work/dagster.dump"
  compose down
  mapfile -t chosen < <(services)
  compose up -d --wait --wait-timeout 600 "${chosen[@]}"
  serves_now "$model" || no "another model serves"
  [[ $(runs_in_postgres) == "$made" ]] || no "runs were lost, or the seed ran again"
  tell "serves $(serves); $made runs; a dump of $(wc -c <"$work/dagster.dump") bytes"
}
removed() { compose down --volumes; rm -rf "$work"; }

step "up, from nothing" up
step "the service: a key, /ready, a prediction, /metrics" service
step "a run on PostgreSQL" a_run
step "a model takes over, and back" rollback
step "Prometheus: targets and rules" targets
step "an alert: Prometheus, Alertmanager, somebody is told" alert
step "Grafana: the dashboard and its source" grafana
step "down, and up again: what was made is still there" down_and_up
step "removed" removed
echo "all of it"
