# $1 is 0 when the package goes, and 1 at an upgrade.
if [ "$1" -eq 0 ] && [ -d /run/systemd/system ]; then
    systemctl disable --now prometheus-coturn-exporter-web.socket prometheus-coturn-exporter-statsdb.socket \
        prometheus-coturn-exporter.service || :
fi
exit 0
