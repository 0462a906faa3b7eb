#!/usr/bin/env python3
"""Renders the chart in every mode with Helm's own engine, and checks what comes out. Run by `make deploy-test`.

Needs, of the Python Package Index: helm-python-sdk (Helm 4 as a library), kubernetes-validate (schemas of Kubernetes), PyYAML.
The resources of the Prometheus operator have no schema there; their rules are read by promtool.
"""

import json
import os
import subprocess
import sys
import tempfile

import kubernetes_validate
import yaml
from helm_python.chart import Chart, lint

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CHART = os.path.join(ROOT, "deploy/helm/coturn-exporter")
KUBERNETES = ["1.28", "1.34"]
OPERATOR = {"ServiceMonitor", "PodMonitor", "PrometheusRule"}

ALL = {
    "redis": {"url": "rediss://redis:6379/0", "existingSecret": "redis", "caSecret": "redis-ca"},
    "statsdb": {"enabled": True, "existingSecret": "statsdb", "clusterIP": "10.96.0.50"},
    "ledger": {"postgresUrl": "postgres://coturn_exporter@db/accounting", "existingSecret": "pg"},
    "web": {"configSecret": "web", "scheme": "HTTPS"},
    "config": {"allocation.max-lifetime": "2h", "web.enable-details": True},
    "job": "turn",
    "serviceMonitor": {
        "enabled": True,
        "tlsConfig": {"insecureSkipVerify": True},
        "relabelings": [{"targetLabel": "region", "replacement": "eu-1"}],
        "metricRelabelings": [{"action": "drop", "regex": "x", "sourceLabels": ["a"]}],
        "labels": {"release": "prometheus"},
    },
    "podMonitor": {"enabled": True},
    "prometheusRule": {"enabled": True, "fleet": True, "migration": True, "runbookUrl": "https://wiki/coturn"},
    "dashboards": {"enabled": True, "annotations": {"grafana_folder": "coturn"}},
    "networkPolicy": {
        "enabled": True,
        "scrapeFrom": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}],
        "statsdbFrom": [{"podSelector": {"matchLabels": {"app": "coturn"}}}],
        "egress": [{"ports": [{"port": 53, "protocol": "UDP"}]}],
    },
    "podAnnotations": {"a": "b"},
    "podLabels": {"team": "voice"},
    "tolerations": [{"operator": "Exists"}],
    "nodeSelector": {"disk": "ssd"},
    "priorityClassName": "high",
    "imagePullSecrets": [{"name": "registry"}],
}
SIDECAR = {
    "mode": "sidecar",
    "sidecar": {"podLabels": {"app": "coturn"}, "portName": "exporter"},
    "podMonitor": {"enabled": True},
    "prometheusRule": {"enabled": True},
    "dashboards": {"enabled": True},
}
SMALL = {"redis": {"url": "redis://redis/0"}, "store": {"enabled": False}}
REFUSED = {
    "nothing to watch": {},
    "give it a password": {"statsdb": {"enabled": True}},
    "takes from the store": {"redis": {"url": "redis://r"}, "store": {"enabled": False}, "ledger": {"postgresUrl": "postgres://u@h/d"}},
    "labels of coturn's pods": {"mode": "sidecar", "podMonitor": {"enabled": True}},
    # what the schema refuses
    "raplicas": {"redis": {"url": "redis://r"}, "raplicas": 2},
    "redis/url": {"redis": {"url": "redis://user:secret@r"}},
    "web/scheme": {"redis": {"url": "redis://r"}, "web": {"scheme": "ftp"}},
}


def rendered(chart, values):
    """The resources that come of the values."""
    chart.validate_schema(values)
    texts = chart.render(values=values, name="turn", namespace="voice")
    documents = []
    for path, text in texts.items():
        if not path.endswith(".txt"):
            documents += [document for document in yaml.safe_load_all(text) if document]
    return documents


def by_kind(documents):
    kinds = {}
    for document in documents:
        kinds.setdefault(document["kind"], []).append(document)
    return kinds


def check_resources(documents):
    for document in documents:
        if document["kind"] not in OPERATOR:
            for version in KUBERNETES:
                kubernetes_validate.validate(document, version, strict=True)
        assert document["metadata"]["namespace"] == "voice", document["metadata"]
    names = [(document["kind"], document["metadata"]["name"]) for document in documents]
    assert len(names) == len(set(names)), names


def check_container(container):
    security = container["securityContext"]
    assert security["runAsUser"] == 65534 and security["runAsNonRoot"] and security["readOnlyRootFilesystem"]
    assert security["capabilities"] == {"drop": ["ALL"]} and not security["allowPrivilegeEscalation"]
    # What may restart it asks a path that is well while a store is loaded.
    for probe in ("startupProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] == "/-/healthy", probe
    assert container["readinessProbe"]["httpGet"]["path"] == "/-/ready"
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    for variable in container["env"]:
        assert variable["name"].startswith("COTURN_EXPORTER_"), variable
        if variable["value"].startswith("/etc/coturn-exporter/"):
            assert variable["value"].split("/")[3] in mounts, variable


def check_dashboards(config_maps):
    folder = os.path.join(ROOT, "dashboards")
    files = {name for name in os.listdir(folder) if name.endswith(".json")}
    shown = {}
    for config_map in config_maps:
        assert config_map["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert len(json.dumps(config_map)) < 1_000_000, "more than a ConfigMap may hold"
        shown.update(config_map["data"])
    assert set(shown) == files, set(shown) ^ files
    for name, text in shown.items():
        with open(os.path.join(folder, name)) as file:
            assert json.loads(text) == json.load(file), name


def check_rules(rule, job):
    text = yaml.safe_dump(rule["spec"])
    assert f'job="{job}"' in text and (job == "coturn" or 'job="coturn"' not in text)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        subprocess.run(["promtool", "check", "rules", file.name], check=True, stdout=subprocess.DEVNULL)
    return text


def main():
    report = lint(CHART, values=SMALL, strict=True)
    # An icon would be a file on some web server.
    found = [message for message in report["messages"] if "icon is recommended" not in message["error"]]
    assert not found and not report["errors"], report
    chart = Chart.load(CHART)
    program = sys.argv[1]
    help_text = subprocess.run([program, "--help"], check=True, capture_output=True, text=True).stdout

    full = by_kind(rendered(chart, ALL))
    check_resources(sum(full.values(), []))
    assert set(full) == OPERATOR | {"StatefulSet", "Service", "ServiceAccount", "ConfigMap", "NetworkPolicy"}, set(full)
    spec = full["StatefulSet"][0]["spec"]
    container = spec["template"]["spec"]["containers"][0]
    check_container(container)
    for variable in container["env"]:
        assert f"[env: {variable['name']}=" in help_text or f"[env: {variable['name']}]" in help_text, variable
    volumes = {volume["name"] for volume in spec["template"]["spec"]["volumes"]}
    volumes |= {claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    pod_labels = spec["template"]["metadata"]["labels"]
    for selector in (service["spec"]["selector"] for service in full["Service"]):
        assert selector.items() <= pod_labels.items()
    check_dashboards(full["ConfigMap"])
    rules = check_rules(full["PrometheusRule"][0], "turn")
    assert "turn_total_allocations" in rules and "coturn_exporter_primary" in rules
    assert "https://wiki/coturn/CoturnExporterDown.md" in rules and "coturn-exporter.example" not in rules
    relabelings = full["ServiceMonitor"][0]["spec"]["endpoints"][0]["relabelings"]
    assert [one.get("targetLabel") for one in relabelings] == ["job", "region"], relabelings

    small = by_kind(rendered(chart, SMALL))
    check_resources(sum(small.values(), []))
    assert set(small) == {"StatefulSet", "Service", "ServiceAccount"}, set(small)
    check_container(small["StatefulSet"][0]["spec"]["template"]["spec"]["containers"][0])
    assert "volumeClaimTemplates" not in small["StatefulSet"][0]["spec"]

    beside = by_kind(rendered(chart, SIDECAR))
    check_resources(sum(beside.values(), []))
    assert set(beside) == {"PodMonitor", "PrometheusRule", "ConfigMap"}, set(beside)
    monitor = beside["PodMonitor"][0]["spec"]
    assert monitor["selector"]["matchLabels"] == {"app": "coturn"}
    assert monitor["podMetricsEndpoints"][0]["port"] == "exporter"
    rules = check_rules(beside["PrometheusRule"][0], "coturn")
    assert "turn_total_allocations" not in rules

    for says, values in REFUSED.items():
        try:
            rendered(chart, values)
        except Exception as error:
            assert says in str(error), f"{says}: {error}"
        else:
            raise AssertionError(f"accepted: {values}")
    print("chart: well")


main()
