if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
    # At an upgrade the new program takes over; its sockets, if there are any, stay open meanwhile.
    if [ "$1" -ge 1 ]; then systemctl try-restart prometheus-coturn-exporter.service || :; fi
fi
exit 0
