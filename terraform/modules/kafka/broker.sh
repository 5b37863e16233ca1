# shellcheck shell=bash
# Our own broker: one Apache Kafka (KRaft), with TLS and SCRAM for clients on the network, and ACLs.
# Terraform prepends the settings (BROKER_*). The instance keeps a copy and runs it at every start of the broker:
#   boot      first boot: packages, Kafka's jars, the data volume, the services
#   prepare   before the broker starts: certificates, configuration, and storage, if there is none
#   users     after it started: users and their passwords from Secrets Manager (rotated passwords, too); publishes the CA
#   disk      once a minute: a line for the alarm on a full disk
set -euo pipefail
umask 077

libs=${BROKER_LIBS:-/opt/kafka}
data=${BROKER_DATA:-/var/lib/kafka}     # the volume that outlives the instance
conf=${BROKER_CONF:-/etc/kafka}         # recreated at every start
logs=${BROKER_LOGS:-/var/log/kafka}
bind=${BROKER_BIND:-0.0.0.0}
port=${BROKER_PORT:-9096}
local_port=${BROKER_LOCAL_PORT:-9092}   # loopback only, for this script
controller_port=${BROKER_CONTROLLER_PORT:-9093}
owner=${BROKER_OWNER-kafka}

fail() { echo "broker: $*" >&2; exit 1; }

# TRIES PAUSE COMMAND...
again() {
    local tries=$1 pause=$2
    shift 2
    until "$@"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || fail "gave up: $*"
        sleep "$pause"
    done
}

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Every jar is checked by its SHA-256 (infra/kafka/local runs the same files), so that the mirror need not be trusted.
fetch_kafka() {
    local sum path file
    mkdir -p "$libs"
    while read -r sum path; do
        [ -n "$sum" ] || continue
        file=$libs/${path##*/}
        if ! echo "$sum  $file" | sha256sum --check --status 2>/dev/null; then
            curl --fail --silent --show-error --location --proto '=https' --retry 5 --retry-all-errors --max-time 300 \
                --output "$file.part" "$BROKER_MIRROR/$path"
            echo "$sum  $file.part" | sha256sum --check --status || fail "$path is not what was pinned"
            mv "$file.part" "$file"
        fi
    done <<<"$BROKER_JARS"
    chmod 755 "$libs"
    chmod 644 "$libs"/*.jar
}

mount_data() {
    local device=/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_${BROKER_VOLUME/-/}
    again 60 5 test -e "$device" # attached after the instance is created
    blkid "$device" >/dev/null || mkfs.xfs -q "$device"
    mkdir -p "$data"
    grep -q " $data " /etc/fstab || echo "$device $data xfs defaults,nofail,nosuid,nodev,noexec 0 2" >>/etc/fstab
    mountpoint -q "$data" || mount "$data"
}

# Its own certificate authority, created once, on the volume. Clients read its certificate from the parameter that `publish` writes.
certificates() {
    local ca=$data/ca
    mkdir -p "$ca" "$conf"
    if [ ! -s "$ca/ca.crt" ]; then
        openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$ca/ca.key"
        openssl req -x509 -new -key "$ca/ca.key" -sha256 -days 3650 -subj "/CN=$BROKER_HOST CA" \
            -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign -out "$ca/ca.crt.part"
        mv "$ca/ca.crt.part" "$ca/ca.crt"
    fi
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$conf/broker.key"
    openssl req -new -key "$conf/broker.key" -subj "/CN=$BROKER_HOST" -out "$conf/broker.csr"
    printf 'subjectAltName=DNS:%s,DNS:localhost\nextendedKeyUsage=serverAuth\n' "$BROKER_HOST" >"$conf/broker.ext"
    openssl x509 -req -in "$conf/broker.csr" -CA "$ca/ca.crt" -CAkey "$ca/ca.key" -CAcreateserial -sha256 -days 397 \
        -extfile "$conf/broker.ext" -out "$conf/broker.crt" 2>/dev/null
    cat "$conf/broker.key" "$conf/broker.crt" >"$conf/broker.pem"
    rm "$conf"/broker.{key,csr,ext,crt}
    [ "$owner" = "" ] || chown "$owner" "$conf/broker.pem"
}

# ANONYMOUS is whoever connects by the loopback listeners: the controller and this script. The network listener always authenticates.
properties() {
    cat <<P
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:$controller_port
controller.listener.names=CONTROLLER
inter.broker.listener.name=LOCAL
listeners=SASL://$bind:$port,LOCAL://127.0.0.1:$local_port,CONTROLLER://127.0.0.1:$controller_port
advertised.listeners=SASL://$BROKER_HOST:$port,LOCAL://127.0.0.1:$local_port
listener.security.protocol.map=SASL:SASL_SSL,LOCAL:PLAINTEXT,CONTROLLER:PLAINTEXT
ssl.keystore.type=PEM
ssl.keystore.location=$conf/broker.pem
ssl.enabled.protocols=TLSv1.3,TLSv1.2
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:admin
allow.everyone.if.no.acl.found=false
auto.create.topics.enable=false
log.dirs=$data/log
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=8
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
P
}

log4j() {
    cat <<P
appender.file.type=RollingFile
appender.file.name=file
appender.file.fileName=$logs/broker.log
appender.file.filePattern=$logs/broker.%i.log
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d %p %m (%c)%n
appender.file.policies.type=SizeBasedTriggeringPolicy
appender.file.policies.size=20MB
appender.file.strategy.type=DefaultRolloverStrategy
appender.file.strategy.max=3
rootLogger.level=WARN
rootLogger.appenderRef.file.ref=file
logger.server.name=kafka.server.KafkaRaftServer
logger.server.level=INFO
P
}

java_tool() { java -Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$libs/*" "$@"; }

prepare() {
    certificates
    mkdir -p "$logs"
    properties >"$conf/server.properties"
    log4j >"$conf/log4j2.properties"
    if [ ! -e "$data/log/meta.properties" ]; then
        mkdir -p "$data/log"
        # The first letter is fixed: an id that begins with a hyphen would be read as a flag.
        local id
        id=E$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=' | cut -c 2-)
        java_tool kafka.tools.StorageTool format --cluster-id "$id" --config "$conf/server.properties" --standalone
    fi
    chmod 755 "$conf" "$data"
    chmod 644 "$conf"/*.properties
    [ "$owner" = "" ] || chown -R "$owner" "$data/log" "$logs"
}

run() {
    exec java -Xms512m -Xmx"${BROKER_HEAP:-768m}" -XX:+UseG1GC -XX:+ExitOnOutOfMemoryError \
        -Dlog4j2.configurationFile="$conf/log4j2.properties" -cp "$libs/*" kafka.Kafka "$conf/server.properties"
}

# Passwords go from Secrets Manager into a file that only root can read, and from there into the broker; never into a command line.
users() {
    local pair user file
    again 240 0.5 listens "$local_port"
    file=$(mktemp)
    # shellcheck disable=SC2064
    trap "rm -f '$file'" EXIT
    for pair in $BROKER_USERS; do
        user=${pair%%=*}
        {
            printf 'SCRAM-SHA-512=iterations=8192,password='
            aws secretsmanager get-secret-value --region "$BROKER_REGION" --secret-id "${pair#*=}" --query SecretString --output text |
                tr -d '\n'
            echo
        } >"$file"
        java_tool kafka.admin.ConfigCommand --bootstrap-server "127.0.0.1:$local_port" --alter --entity-type users \
            --entity-name "$user" --add-config-file "$file" >/dev/null 2>&1 || # its error messages quote the password
            fail "cannot set the password of $user"
    done
    publish
}

publish() {
    aws ssm put-parameter --region "$BROKER_REGION" --name "$BROKER_CA_PARAMETER" --overwrite --type String \
        --value "file://$data/ca/ca.crt" >/dev/null
}

disk() { df --output=pcent "$data" | awk 'NR == 2 { printf "{\"event\":\"broker_disk\",\"used_percent\":%d}\n", $1 }' >>"$logs/disk.log"; }

units() {
    cat >/etc/systemd/system/kafka.service <<'U'
[Unit]
Description=Apache Kafka
Wants=network-online.target
After=network-online.target
RequiresMountsFor=/var/lib/kafka

[Service]
User=kafka
ExecStartPre=+/usr/local/sbin/eventflow-broker prepare
ExecStart=/usr/local/libexec/kafka
ExecStartPost=+/usr/local/sbin/eventflow-broker users
TimeoutStartSec=600
TimeoutStopSec=120
SuccessExitStatus=143
Restart=always
RestartSec=10
LimitNOFILE=100000
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
ReadWritePaths=/var/lib/kafka /var/log/kafka

[Install]
WantedBy=multi-user.target
U
    # Processes of the user kafka get only these settings, not the names of the secrets.
    mkdir -p /usr/local/libexec
    { echo '#!/bin/bash'; echo "libs=$libs conf=$conf"; declare -f run; echo run; } >/usr/local/libexec/kafka
    chmod 755 /usr/local/libexec/kafka

    printf '[Service]\nType=oneshot\nExecStart=/usr/local/sbin/eventflow-broker disk\n' >/etc/systemd/system/kafka-disk.service
    printf '[Timer]\nOnCalendar=minutely\n\n[Install]\nWantedBy=timers.target\n' >/etc/systemd/system/kafka-disk.timer
    printf '%s/disk.log {\n  size 1M\n  rotate 1\n  copytruncate\n}\n' "$logs" >/etc/logrotate.d/kafka-disk
}

# Kafka's log and the disk's line go to CloudWatch, with the instance's own role.
agent() {
    local config=/opt/aws/amazon-cloudwatch-agent/etc/broker.json
    cat >"$config" <<J
{"logs":{"logs_collected":{"files":{"collect_list":[
{"file_path":"$logs/broker.log","log_group_name":"$BROKER_LOG_GROUP","log_stream_name":"broker"},
{"file_path":"$logs/disk.log","log_group_name":"$BROKER_LOG_GROUP","log_stream_name":"disk"}]}}}}
J
    /opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl -a fetch-config -m ec2 -s -c "file:$config"
}

boot() {
    # The NAT may start minutes later.
    again 40 15 dnf install --assumeyes --quiet java-21-amazon-corretto-headless openssl xfsprogs logrotate amazon-cloudwatch-agent
    id kafka >/dev/null 2>&1 || useradd --system --no-create-home --shell /sbin/nologin kafka
    install -m 700 "$0" /usr/local/sbin/eventflow-broker
    fetch_kafka
    mount_data
    mkdir -p "$logs"
    chmod 755 "$logs"
    chown kafka "$logs"
    units
    systemctl daemon-reload
    systemctl enable --now amazon-ssm-agent kafka-disk.timer
    systemctl enable kafka
    agent
    systemctl start kafka
}

"${1:-boot}"
