# The user must be there before files are; sysusers.d has the same line for systems that are made from images.
getent group prometheus-coturn-exporter >/dev/null || groupadd -r prometheus-coturn-exporter
getent passwd prometheus-coturn-exporter >/dev/null || useradd -r -g prometheus-coturn-exporter \
    -d /var/lib/prometheus-coturn-exporter -M -s /usr/sbin/nologin -c 'Prometheus exporter for coturn' \
    prometheus-coturn-exporter
exit 0
