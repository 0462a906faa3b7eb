# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_coturn_exporter_global_optspecs
    string join \n web.listen-address= web.systemd-socket= web.config.file= web.open-health-paths= web.telemetry-path= web.max-requests= web.max-connections= web.openmetrics-created= web.enable-details= web.details-host= log.level= log.format= redis.url= redis.password-file= redis.sentinel-password-file= redis.tls-ca-file= redis.tls-cert-file= redis.tls-key-file= statsdb.listen-address= statsdb.systemd-socket= statsdb.password-file= statsdb.open= statsdb.behind-proxy= statsdb.tls-cert-file= statsdb.tls-key-file= statsdb.max-connections= statsdb.forward-url= coturn.config-file= allocation.max-lifetime= allocation.idle-after= allocation.grace= allocation.max-count= session.by= session.linger= session.relayed-packets= session.rest-separator= metrics.max-realms= metrics.max-servers= metrics.realm= metrics.disable= store.path= store.retention= exporter.name= ledger.postgres-url= ledger.postgres-password-file= events.url= events.secret-file= events.with-users= events.batch-size= events.max-age= events.max-pending= events.tls-ca-file= h/help V/version
end

function __fish_coturn_exporter_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_coturn_exporter_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_coturn_exporter_using_subcommand
    set -l cmd (__fish_coturn_exporter_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l web.listen-address -d 'Address to serve metrics on; repeatable. Without a host: all addresses, IPv6 and IPv4' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l web.systemd-socket -d 'Listen on the sockets of a `.socket` unit, which systemd hands over, and on no address' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l web.config.file -d 'File with TLS, client certificates, users and headers of the web server, in the format of all Prometheus exporters; read again when it changes' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l web.open-health-paths -d 'Answer /-/healthy and /-/ready also to those who are no user of --web.config.file' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l web.telemetry-path -d 'Path of the metrics' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l web.max-requests -d 'Pages rendered at one time. All who ask meanwhile for a page in the same form share one; more wait for 2 s and are then answered 503' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l web.max-connections -d 'Connections open at one time. For one more an older one of the address that has the most is closed, idle ones first; one address may have a quarter of them' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l web.openmetrics-created -d 'Write samples `_created` in `OpenMetrics`: when each counter and histogram was 0, which with a store is before this process. They are as many again, and only some readers use them' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l web.enable-details -d 'Also serve the single allocations and sessions: /allocations, /sessions and /api/v1/. They show user names and client addresses' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l web.details-host -d 'Host name that details may be asked for by, beside addresses and localhost; repeatable. Any other name gets 403, so that no web page can read them under a name of its own (DNS rebinding)' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l log.level -d 'Least important lines to write: debug, info, warn or error' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l log.format -d 'Form of the lines: logfmt or json. They go to standard error' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l redis.url -d 'Redis that coturn reports to; repeatable. `redis://[user:password@]host[:port][/db]`, `unix:///path[?db=1]` or `redis+sentinel://[user:password@]host[:port],.../MASTER[/db]`; `rediss://` and `rediss+sentinel://` speak TLS; `valkey://` and `valkeys://` are other names of `redis://` and `rediss://`' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l redis.password-file -d 'File with the password for every Redis whose URL has none' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l redis.sentinel-password-file -d 'File with the password for the sentinels of every `redis+sentinel://` whose URL has none' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l redis.tls-ca-file -d 'CAs (PEM) that may have signed the certificate of a Redis; those that the system trusts if not given' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l redis.tls-cert-file -d 'Client certificate (PEM) for a Redis that wants one, with the certificates between it and its CA' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l redis.tls-key-file -d 'Key (PEM, not encrypted) of the client certificate' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l statsdb.listen-address -d 'Listen on this address for coturn, whose redis-statsdb names it instead of a Redis. A name stands for each of its addresses, no host for all, IPv6 and IPv4. No Redis is watched then, unless --redis.url is given' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l statsdb.systemd-socket -d 'Take the socket of this listener from systemd: from a `.socket` unit with `FileDescriptorName=statsdb` that listens at --statsdb.listen-address. What coturn reports while the exporter is restarted waits in it' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l statsdb.password-file -d 'File with the password that coturn must give to this listener' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l statsdb.open -d 'Listen without a password where other hosts can connect' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l statsdb.behind-proxy -d 'A proxy, load balancer or NAT is between coturn and this listener: a closed connection then ends no allocations; they stay until they expire or coturn restarts' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l statsdb.tls-cert-file -d 'Certificate (PEM) of this listener, with the certificates between it and its CA; the listener then speaks TLS' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l statsdb.tls-key-file -d 'Key (PEM, not encrypted) of the certificate' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l statsdb.max-connections -d 'Connections that may be open to this listener at one time' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l statsdb.forward-url -d 'Redis that every command of coturn is forwarded to, for other programs that read it' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l coturn.config-file -d 'coturn\'s own file, usually /etc/turnserver.conf, which is read and never written: what it says takes the place of flags that are not given, and its limits are on the page' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l allocation.max-lifetime -d 'coturn\'s max-allocate-lifetime: the longest grant, and the age past which an idle allocation is an orphan' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l allocation.idle-after -d 'Time without relayed traffic after which an old allocation is idle' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l allocation.grace -d 'Time past the granted lifetime after which a silent allocation is overdue' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l allocation.max-count -d 'Allocations held in memory at most, and 128 bytes of user and realm names for each. When it is full, ended ones are removed for live ones; what then finds no place is refused and counted. Half of it is reserved for the sources in equal parts' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l session.by -d 'Whose allocations form a session: user, or client (user and client host, for a user name that clients share)' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l session.linger -d 'Time a session waits for another allocation after its last one has ended' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l session.relayed-packets -d 'Packets that an allocation must exceed to count as used for relaying' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l session.rest-separator -d 'coturn\'s rest-api-separator: what stands between timestamp and user id in a TURN REST name' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l metrics.max-realms -d 'Realms with series of their own; the others share the realm `_other`' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l metrics.max-servers -d 'TURN servers with series of their own; the others share the server `_other`' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l metrics.realm -d 'Realm whose series exist from the start; repeatable' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l metrics.disable -d 'Family left off the page, by its name, to have fewer series; repeatable, several with commas. The histograms are two thirds of a realm\'s series' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l store.path -d 'Directory of the store, by which counters and sessions go on after a restart, and of the ledger of finished sessions; it is made if it is not there. Without it everything is in memory' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l store.retention -d 'Time a finished session stays in the ledger, by the wall clock; a day more after the clock has jumped, and where more than a tenth would go at once' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l exporter.name -d 'Name of this exporter in the ledger\'s database and in events; the name of the host if not given' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l ledger.postgres-url -d '`PostgreSQL` that gets each finished session, from the ledger of --store.path: `postgres://user[:password]@host[:port]/database[?sslmode=verify-full&sslrootcert=FILE]`, or a Unix socket by `?host=/run/postgresql`' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l ledger.postgres-password-file -d 'File with the password for `PostgreSQL`' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l events.url -d 'Web hook that is called when a session opens, closes or is amended and when an allocation becomes an orphan, as `CloudEvents`; repeatable. Needs --store.path, where events wait' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l events.secret-file -d 'File with the secret that events are signed with (Standard Webhooks: `whsec_` and base64, or any text); with several lines each signs' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l events.with-users -d 'Events name users and client addresses' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l events.batch-size -d 'Events in one request at most; with more than 1 a request is a batch of `CloudEvents`' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l events.max-age -d 'Time an event waits for a web hook that does not take it; then it is given up' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l events.max-pending -d 'Events that wait at most; of more, the oldest are given up' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -l events.tls-ca-file -d 'CAs (PEM) that may have signed the certificate of a web hook; those that the system trusts if not given' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -s V -l version -d 'Print version'
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -f -a "replay" -d 'Read captures, or the journal of a store, and print the metrics as of their last event; their time stamps are the clock'
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -f -a "record" -d 'Write the event stream of the Redis to a capture, until interrupted'
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -f -a "demo" -d 'Show everything at once: an exporter, a TURN service that is simulated on a clock that runs 120 times as fast, and, where it is installed, a Prometheus with the alert rules. Needs no coturn, no Redis, no network and no root'
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -f -a "simulate" -d 'Play a TURN service into an exporter or a Redis: calls of all lengths, web pages that never close what they opened, a server that dies now and then. Never into one that is in use'
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -f -a "doctor" -d 'Check each Redis (settings, ACL, keys, clients) and the listener, and say what to change'
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -f -a "prune" -d 'List the status keys that no live allocation can own; with --apply, delete them'
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -f -a "usage" -d 'Print what finished sessions used, from the ledger of --store.path; an exporter may be writing it meanwhile'
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -f -a "healthcheck" -d 'Ask an exporter on this host whether it is well, and print one line: for containers that have no HTTP client'
complete -c coturn-exporter -n "__fish_coturn_exporter_needs_command" -f -a "ledger" -d 'Look after the tables of the ledger in a database'
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand replay" -l until -d 'Print the metrics as of this time of the capture or of the journal, in seconds, instead of the last event\'s. A store has no moment before its snapshot' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand replay" -l log.level -d 'Least important lines to write: debug, info, warn or error' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand replay" -l log.format -d 'Form of the lines: logfmt or json. They go to standard error' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand replay" -l coturn.config-file -d 'coturn\'s own file, usually /etc/turnserver.conf, which is read and never written: what it says takes the place of flags that are not given, and its limits are on the page' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand replay" -l allocation.max-lifetime -d 'coturn\'s max-allocate-lifetime: the longest grant, and the age past which an idle allocation is an orphan' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand replay" -l allocation.idle-after -d 'Time without relayed traffic after which an old allocation is idle' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand replay" -l allocation.grace -d 'Time past the granted lifetime after which a silent allocation is overdue' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand replay" -l allocation.max-count -d 'Allocations held in memory at most, and 128 bytes of user and realm names for each. When it is full, ended ones are removed for live ones; what then finds no place is refused and counted. Half of it is reserved for the sources in equal parts' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand replay" -l session.by -d 'Whose allocations form a session: user, or client (user and client host, for a user name that clients share)' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand replay" -l session.linger -d 'Time a session waits for another allocation after its last one has ended' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand replay" -l session.relayed-packets -d 'Packets that an allocation must exceed to count as used for relaying' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand replay" -l session.rest-separator -d 'coturn\'s rest-api-separator: what stands between timestamp and user id in a TURN REST name' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand replay" -l metrics.max-realms -d 'Realms with series of their own; the others share the realm `_other`' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand replay" -l metrics.max-servers -d 'TURN servers with series of their own; the others share the server `_other`' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand replay" -l metrics.realm -d 'Realm whose series exist from the start; repeatable' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand replay" -l metrics.disable -d 'Family left off the page, by its name, to have fewer series; repeatable, several with commas. The histograms are two thirds of a realm\'s series' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand replay" -s h -l help -d 'Print help'
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand record" -l output -d 'File to write; standard output if not given or `-`. A file that exists is not overwritten' -r -F
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand record" -l duration -d 'Stop after this time' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand record" -l log.level -d 'Least important lines to write: debug, info, warn or error' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand record" -l log.format -d 'Form of the lines: logfmt or json. They go to standard error' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand record" -l redis.url -d 'Redis that coturn reports to; repeatable. `redis://[user:password@]host[:port][/db]`, `unix:///path[?db=1]` or `redis+sentinel://[user:password@]host[:port],.../MASTER[/db]`; `rediss://` and `rediss+sentinel://` speak TLS; `valkey://` and `valkeys://` are other names of `redis://` and `rediss://`' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand record" -l redis.password-file -d 'File with the password for every Redis whose URL has none' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand record" -l redis.sentinel-password-file -d 'File with the password for the sentinels of every `redis+sentinel://` whose URL has none' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand record" -l redis.tls-ca-file -d 'CAs (PEM) that may have signed the certificate of a Redis; those that the system trusts if not given' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand record" -l redis.tls-cert-file -d 'Client certificate (PEM) for a Redis that wants one, with the certificates between it and its CA' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand record" -l redis.tls-key-file -d 'Key (PEM, not encrypted) of the client certificate' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand record" -l coturn.config-file -d 'coturn\'s own file, usually /etc/turnserver.conf, which is read and never written: what it says takes the place of flags that are not given, and its limits are on the page' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand record" -s h -l help -d 'Print help'
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand demo" -l port -d 'Port of the exporter\'s pages, on 127.0.0.1' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand demo" -l calls -d 'Calls that go on at one time' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand demo" -l duration -d 'Stop after this time' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand demo" -l log.level -d 'Least important lines to write: debug, info, warn or error' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand demo" -l log.format -d 'Form of the lines: logfmt or json. They go to standard error' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand demo" -s h -l help -d 'Print help'
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand simulate" -l to -d 'Where the servers report to: --statsdb.listen-address of an exporter, or a Redis without a password' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand simulate" -l servers -d 'Servers, each with a connection of its own' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand simulate" -l calls -d 'Calls that go on at one time' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand simulate" -l speed -d 'So many times as fast as the clock; lifetimes are published in the exporter\'s time' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand simulate" -l crash-every -d 'Time between two deaths of a server on average, on the service\'s clock; 0s for none' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand simulate" -l cut-every -d 'Time between two cuts of a connection on average, on the service\'s clock; 0s for none' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand simulate" -l leak-one-in -d 'One of so many clients never closes what it opened; 0 for none' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand simulate" -l seed -d 'What chance is made of' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand simulate" -l duration -d 'Stop after this time' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand simulate" -l log.level -d 'Least important lines to write: debug, info, warn or error' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand simulate" -l log.format -d 'Form of the lines: logfmt or json. They go to standard error' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand simulate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand doctor" -l web.config.file -d 'File with TLS, client certificates, users and headers of the web server, in the format of all Prometheus exporters; read again when it changes' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand doctor" -l log.level -d 'Least important lines to write: debug, info, warn or error' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand doctor" -l log.format -d 'Form of the lines: logfmt or json. They go to standard error' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand doctor" -l redis.url -d 'Redis that coturn reports to; repeatable. `redis://[user:password@]host[:port][/db]`, `unix:///path[?db=1]` or `redis+sentinel://[user:password@]host[:port],.../MASTER[/db]`; `rediss://` and `rediss+sentinel://` speak TLS; `valkey://` and `valkeys://` are other names of `redis://` and `rediss://`' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand doctor" -l redis.password-file -d 'File with the password for every Redis whose URL has none' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand doctor" -l redis.sentinel-password-file -d 'File with the password for the sentinels of every `redis+sentinel://` whose URL has none' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand doctor" -l redis.tls-ca-file -d 'CAs (PEM) that may have signed the certificate of a Redis; those that the system trusts if not given' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand doctor" -l redis.tls-cert-file -d 'Client certificate (PEM) for a Redis that wants one, with the certificates between it and its CA' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand doctor" -l redis.tls-key-file -d 'Key (PEM, not encrypted) of the client certificate' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand doctor" -l statsdb.listen-address -d 'Listen on this address for coturn, whose redis-statsdb names it instead of a Redis. A name stands for each of its addresses, no host for all, IPv6 and IPv4. No Redis is watched then, unless --redis.url is given' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand doctor" -l statsdb.password-file -d 'File with the password that coturn must give to this listener' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand doctor" -l statsdb.tls-cert-file -d 'Certificate (PEM) of this listener, with the certificates between it and its CA; the listener then speaks TLS' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand doctor" -l statsdb.tls-key-file -d 'Key (PEM, not encrypted) of the certificate' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand doctor" -l coturn.config-file -d 'coturn\'s own file, usually /etc/turnserver.conf, which is read and never written: what it says takes the place of flags that are not given, and its limits are on the page' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand doctor" -l allocation.max-lifetime -d 'coturn\'s max-allocate-lifetime: the longest grant, and the age past which an idle allocation is an orphan' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand doctor" -l allocation.grace -d 'Time past the granted lifetime after which a silent allocation is overdue' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand doctor" -l session.by -d 'Whose allocations form a session: user, or client (user and client host, for a user name that clients share)' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand doctor" -l session.rest-separator -d 'coturn\'s rest-api-separator: what stands between timestamp and user id in a TURN REST name' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand doctor" -l json -d 'Print one JSON object: ok (bool) and findings, each with source, id, severity (ok, info, advice or fault), message, why and fix'
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand doctor" -l verbose -d 'Say why, and give the command, also for what is marked info; of a Redis, the ACL line of a user that may do no more than is needed'
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand prune" -l log.level -d 'Least important lines to write: debug, info, warn or error' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand prune" -l log.format -d 'Form of the lines: logfmt or json. They go to standard error' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand prune" -l redis.url -d 'Redis that coturn reports to; repeatable. `redis://[user:password@]host[:port][/db]`, `unix:///path[?db=1]` or `redis+sentinel://[user:password@]host[:port],.../MASTER[/db]`; `rediss://` and `rediss+sentinel://` speak TLS; `valkey://` and `valkeys://` are other names of `redis://` and `rediss://`' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand prune" -l redis.password-file -d 'File with the password for every Redis whose URL has none' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand prune" -l redis.sentinel-password-file -d 'File with the password for the sentinels of every `redis+sentinel://` whose URL has none' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand prune" -l redis.tls-ca-file -d 'CAs (PEM) that may have signed the certificate of a Redis; those that the system trusts if not given' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand prune" -l redis.tls-cert-file -d 'Client certificate (PEM) for a Redis that wants one, with the certificates between it and its CA' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand prune" -l redis.tls-key-file -d 'Key (PEM, not encrypted) of the client certificate' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand prune" -l coturn.config-file -d 'coturn\'s own file, usually /etc/turnserver.conf, which is read and never written: what it says takes the place of flags that are not given, and its limits are on the page' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand prune" -l allocation.max-lifetime -d 'coturn\'s max-allocate-lifetime: the longest grant, and the age past which an idle allocation is an orphan' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand prune" -l allocation.grace -d 'Time past the granted lifetime after which a silent allocation is overdue' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand prune" -l apply -d 'Delete them, except those that were used again in the meantime'
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand prune" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand usage" -l by -d 'What to sum by, separated by commas: user (of a TURN REST name the user id), credential (the whole name), realm, day (UTC)' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand usage" -l since -d 'Sessions that ended at this moment or later: 2026-11-22, 2026-11-22T08:30:00Z, or 7d ago' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand usage" -l until -d 'Sessions that ended before this moment' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand usage" -l top -d 'Only so many lines, those that relayed most' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand usage" -l columns -d 'Columns of the answer, separated by commas and in plain numbers; csv and json have all if not given' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand usage" -l format -d 'Form of the answer: table, csv or json' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand usage" -l from -d 'Ledger to ask instead of that of --store.path: `postgres://user@host/database`, which has those of all exporters, or the path of a store. A password may be in the URL or in a file (--ledger.postgres-password-file)' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand usage" -l log.level -d 'Least important lines to write: debug, info, warn or error' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand usage" -l log.format -d 'Form of the lines: logfmt or json. They go to standard error' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand usage" -l store.path -d 'Directory of the store, by which counters and sessions go on after a restart, and of the ledger of finished sessions; it is made if it is not there. Without it everything is in memory' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand usage" -l ledger.postgres-password-file -d 'File with the password for `PostgreSQL`' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand usage" -l wide -d 'All columns in the table, in plain numbers'
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand usage" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand healthcheck" -l url -d 'Exporter to ask: http[s]://host:port; a path after it is asked for instead of /-/healthy. If not given, the address in the variable `COTURN_EXPORTER_WEB_LISTEN_ADDRESS` or port 10641 of this host, over TLS where the file in `COTURN_EXPORTER_WEB_CONFIG_FILE` asks for it' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand healthcheck" -l timeout -d 'Time for everything together' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand healthcheck" -l web.config.file -d 'File with TLS, client certificates, users and headers of the web server, in the format of all Prometheus exporters; read again when it changes' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand healthcheck" -l log.level -d 'Least important lines to write: debug, info, warn or error' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand healthcheck" -l log.format -d 'Form of the lines: logfmt or json. They go to standard error' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand healthcheck" -l ready -d 'Ask whether it is also subscribed and has read all keys: /-/ready instead of /-/healthy'
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand healthcheck" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand ledger; and not __fish_seen_subcommand_from schema prune" -l log.level -d 'Least important lines to write: debug, info, warn or error' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand ledger; and not __fish_seen_subcommand_from schema prune" -l log.format -d 'Form of the lines: logfmt or json. They go to standard error' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand ledger; and not __fish_seen_subcommand_from schema prune" -l ledger.postgres-password-file -d 'File with the password for `PostgreSQL`' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand ledger; and not __fish_seen_subcommand_from schema prune" -s h -l help -d 'Print help'
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand ledger; and not __fish_seen_subcommand_from schema prune" -f -a "schema" -d 'Print the SQL that makes the tables or brings them up to date, for psql; where they are, it does nothing'
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand ledger; and not __fish_seen_subcommand_from schema prune" -f -a "prune" -d 'List the months whose sessions are older than --keep; with --apply, drop them. Sessions in no month of their own go one by one'
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand ledger; and __fish_seen_subcommand_from schema" -l log.level -d 'Least important lines to write: debug, info, warn or error' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand ledger; and __fish_seen_subcommand_from schema" -l log.format -d 'Form of the lines: logfmt or json. They go to standard error' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand ledger; and __fish_seen_subcommand_from schema" -l ledger.postgres-password-file -d 'File with the password for `PostgreSQL`' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand ledger; and __fish_seen_subcommand_from schema" -s h -l help -d 'Print help'
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand ledger; and __fish_seen_subcommand_from prune" -l from -d 'Database: `postgres://user@host/database`' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand ledger; and __fish_seen_subcommand_from prune" -l keep -d 'Time that a session is kept after its end: 400d' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand ledger; and __fish_seen_subcommand_from prune" -l log.level -d 'Least important lines to write: debug, info, warn or error' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand ledger; and __fish_seen_subcommand_from prune" -l log.format -d 'Form of the lines: logfmt or json. They go to standard error' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand ledger; and __fish_seen_subcommand_from prune" -l ledger.postgres-password-file -d 'File with the password for `PostgreSQL`' -r
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand ledger; and __fish_seen_subcommand_from prune" -l apply -d 'Drop them'
complete -c coturn-exporter -n "__fish_coturn_exporter_using_subcommand ledger; and __fish_seen_subcommand_from prune" -s h -l help -d 'Print help'
