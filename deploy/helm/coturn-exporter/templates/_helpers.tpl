{{- define "coturn-exporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "coturn-exporter.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "coturn-exporter.name" . -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "coturn-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "coturn-exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "coturn-exporter.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "coturn-exporter.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "coturn-exporter.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "coturn-exporter.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "coturn-exporter.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* The job's name as the monitors give it: what the alerts ask for. Lists of relabelings of the user come after it. */}}
{{- define "coturn-exporter.relabelings" -}}
- {action: replace, targetLabel: job, replacement: {{ .root.Values.job | quote }}}
{{- with .more }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The container. A parent chart may include it beside coturn (docs/deploying.md). */}}
{{- define "coturn-exporter.container" -}}
{{- $v := .Values -}}
name: coturn-exporter
image: {{ include "coturn-exporter.image" . }}
imagePullPolicy: {{ $v.image.pullPolicy }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65534
  runAsGroup: 65534
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
  seccompProfile: {type: RuntimeDefault}
env:
  - {name: COTURN_EXPORTER_WEB_LISTEN_ADDRESS, value: {{ printf ":%d" (int $v.web.port) | quote }}}
  {{- with $v.redis.url }}
  - {name: COTURN_EXPORTER_REDIS_URL, value: {{ quote . }}}
  {{- end }}
  {{- if $v.redis.existingSecret }}
  - {name: COTURN_EXPORTER_REDIS_PASSWORD_FILE, value: /etc/coturn-exporter/redis/password}
  {{- end }}
  {{- if $v.redis.caSecret }}
  - {name: COTURN_EXPORTER_REDIS_TLS_CA_FILE, value: /etc/coturn-exporter/redis-ca/ca.crt}
  {{- end }}
  {{- if $v.statsdb.enabled }}
  - {name: COTURN_EXPORTER_STATSDB_LISTEN_ADDRESS, value: {{ printf ":%d" (int $v.statsdb.port) | quote }}}
  - {name: COTURN_EXPORTER_STATSDB_PASSWORD_FILE, value: /etc/coturn-exporter/statsdb/password}
  {{- end }}
  {{- if $v.store.enabled }}
  - {name: COTURN_EXPORTER_STORE_PATH, value: /var/lib/coturn-exporter/store}
  - {name: COTURN_EXPORTER_STORE_RETENTION, value: {{ quote $v.store.retention }}}
  {{- end }}
  {{- if $v.ledger.postgresUrl }}
  - {name: COTURN_EXPORTER_LEDGER_POSTGRES_URL, value: {{ quote $v.ledger.postgresUrl }}}
  - {name: COTURN_EXPORTER_EXPORTER_NAME, value: {{ printf "%s/%s" .Release.Namespace (include "coturn-exporter.fullname" .) | quote }}}
  {{- end }}
  {{- if $v.ledger.existingSecret }}
  - {name: COTURN_EXPORTER_LEDGER_POSTGRES_PASSWORD_FILE, value: /etc/coturn-exporter/postgres/password}
  {{- end }}
  {{- if $v.web.configSecret }}
  - {name: COTURN_EXPORTER_WEB_CONFIG_FILE, value: /etc/coturn-exporter/web/web.yml}
  - {name: COTURN_EXPORTER_WEB_OPEN_HEALTH_PATHS, value: "true"}
  {{- end }}
  {{- range $flag, $value := $v.config }}
  - {name: {{ printf "COTURN_EXPORTER_%s" ($flag | upper | replace "." "_" | replace "-" "_") }}, value: {{ $value | toString | quote }}}
  {{- end }}
ports:
  - {name: metrics, containerPort: {{ $v.web.port }}, protocol: TCP}
  {{- if $v.statsdb.enabled }}
  - {name: statsdb, containerPort: {{ $v.statsdb.port }}, protocol: TCP}
  {{- end }}
# /-/healthy answers 200 from the first moment, also while a store is loaded and while Redis is down: no restart ever helps
# against those. The startup probe waits for the web server only.
startupProbe:
  httpGet: {path: /-/healthy, port: metrics, scheme: {{ $v.web.scheme }}}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /-/healthy, port: metrics, scheme: {{ $v.web.scheme }}}
  periodSeconds: 15
  timeoutSeconds: 5
  failureThreshold: 4
readinessProbe:
  httpGet: {path: /-/ready, port: metrics, scheme: {{ $v.web.scheme }}}
  periodSeconds: 5
  timeoutSeconds: 5
resources:
  {{- toYaml $v.resources | nindent 2 }}
volumeMounts: {{- include "coturn-exporter.volumeMounts" . | trim | default "[]" | nindent 2 }}
{{- end -}}

{{- define "coturn-exporter.volumeMounts" -}}
{{- if .Values.store.enabled }}
- {name: store, mountPath: /var/lib/coturn-exporter}
{{- end }}
{{- range $name, $secret := include "coturn-exporter.secrets" . | fromYaml }}
- {name: {{ $name }}, mountPath: /etc/coturn-exporter/{{ $name }}, readOnly: true}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Mounted secrets: the folder's name, the secret, and the key that becomes the file `password` (empty: all keys). */}}
{{- define "coturn-exporter.secrets" -}}
{{- $v := .Values -}}
{{- with $v.redis.existingSecret }}
redis: {secret: {{ quote . }}, key: {{ quote $v.redis.secretKey }}}
{{- end }}
{{- with $v.redis.caSecret }}
redis-ca: {secret: {{ quote . }}, key: ""}
{{- end }}
{{- if $v.statsdb.enabled }}
statsdb: {secret: {{ required "statsdb.existingSecret: the listener is open to the network, give it a password" $v.statsdb.existingSecret | quote }}, key: {{ quote $v.statsdb.secretKey }}}
{{- end }}
{{- with $v.ledger.existingSecret }}
postgres: {secret: {{ quote . }}, key: {{ quote $v.ledger.secretKey }}}
{{- end }}
{{- with $v.web.configSecret }}
web: {secret: {{ quote . }}, key: ""}
{{- end }}
{{- end -}}

{{- define "coturn-exporter.volumes" -}}
{{- range $name, $mount := include "coturn-exporter.secrets" . | fromYaml }}
- name: {{ $name }}
  secret:
    secretName: {{ $mount.secret }}
    defaultMode: 0400
    {{- with $mount.key }}
    items: [{key: {{ quote . }}, path: password}]
    {{- end }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
