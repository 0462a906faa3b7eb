if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
    # $1 is 1 at the first installation, where the distribution's presets decide.
    if [ "$1" -eq 1 ]; then systemctl preset prometheus-coturn-exporter.service || :; fi
fi
exit 0
