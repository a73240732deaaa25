"""Writes `prometheus-rule.yaml`: the operator's form of the rules that Compose's Prometheus reads, word for word."""  # noqa: INP001 - a script beside what it makes

from __future__ import annotations

from pathlib import Path

import yaml

from churn_serving.atomic import write_text

HERE = Path(__file__).resolve().parent
RULES = HERE.parents[2] / "monitoring" / "prometheus" / "rules"
TARGET = HERE / "prometheus-rule.yaml"
HEADER = (
    "# Made by prometheus_rule.py from deployment/monitoring/prometheus/rules; change those, then run it again:\n"
    "#   .venv/bin/python deployment/k8s/components/monitoring/prometheus_rule.py\n"
)


def manifest() -> str:
    """The PrometheusRule, as YAML."""
    groups = [
        group
        for path in sorted(RULES.glob("*.yml"))
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    ]
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {
            "name": "churn-mlops",
            "namespace": "churn-mlops",
            "labels": {"app.kubernetes.io/part-of": "churn-mlops"},
        },
        "spec": {"groups": groups},
    }
    return HEADER + yaml.safe_dump(rule, sort_keys=False, width=120, allow_unicode=True)


if __name__ == "__main__":
    write_text(TARGET, manifest())
