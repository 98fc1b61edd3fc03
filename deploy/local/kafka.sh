# shellcheck shell=bash
# Apache Kafka from Maven Central, as one KRaft node in one directory: data/, log, pid, port,
# server.properties. Sourced by lib.sh. KAFKA_VERSION chooses the release (3.9 and 4.x work).

KAFKA_VERSION=${KAFKA_VERSION:-4.1.0}
KAFKA_SLF4J_VERSION=1.7.36 # the slf4j that Kafka's own jars are built against

# java_command: a Java 17 or later.
java_command() {
  local candidate version
  for candidate in "${JAVA_HOME:+$JAVA_HOME/bin/java}" "$(command -v java || true)" /usr/lib/jvm/*/bin/java; do
    [[ -n $candidate && -x $candidate ]] || continue
    version=$("$candidate" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p')
    if [[ -n $version ]] && ((version >= 17)); then
      printf '%s' "$candidate"
      return 0
    fi
  done
  return 1
}

kafka_home() {
  printf '%s/kafka-%s' "$LOCKSTEP_CACHE" "$KAFKA_VERSION"
}

kafka_installed() {
  [[ -f $(kafka_home)/libs/kafka_2.13-$KAFKA_VERSION.jar ]]
}

kafka_download() {
  kafka_installed && return 0
  local home work
  home=$(kafka_home)
  mkdir -p "$LOCKSTEP_CACHE"
  work=$(mktemp -d "$LOCKSTEP_CACHE/kafka.XXXXXX")
  cat >"$work/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>lockstep</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>$KAFKA_VERSION</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-simple</artifactId>
      <version>$KAFKA_SLF4J_VERSION</version>
    </dependency>
  </dependencies>
</project>
POM
  note "downloading Apache Kafka $KAFKA_VERSION from Maven Central"
  if ! mvn --batch-mode --quiet --file "$work/pom.xml" -Dmaven.repo.local="$work/repository" \
    org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$work/home/libs" >"$work/log" 2>&1; then
    tail -n 20 "$work/log" >&2
    rm -rf "$work"
    note "Apache Kafka $KAFKA_VERSION could not be downloaded"
    return 1
  fi
  rm -rf "$home"
  mv "$work/home" "$home"
  rm -rf "$work"
}

# kafka_install: downloads Kafka into the cache, once.
kafka_install() {
  kafka_installed || with_lock "$LOCKSTEP_CACHE/lock" kafka_download
}

# kafka_answers ADDRESS: asks for metadata over the Kafka protocol and is content when at least one broker
# is named in the answer: by then it is registered and serves clients.
kafka_answers() {
  local answer
  # shellcheck disable=SC2016 # the inner shell expands it
  answer=$(timeout 2 bash -c '
    exec 3<>"/dev/tcp/${1%:*}/${1##*:}" || exit 1
    # size 14, Metadata (3) version 1, correlation id 1, no client id, no topics
    printf "\0\0\0\016\0\3\0\1\0\0\0\1\377\377\0\0\0\0" >&3
    head -c 12 <&3 | od -An -tu1' metadata "$1" 2>/dev/null) || return 1
  local -a byte
  read -ra byte <<<"${answer//$'\n'/ }"
  ((${#byte[@]} == 12 && byte[7] == 1 && byte[11] >= 1))
}

# LOCKSTEP_KAFKA_LISTENERS may name more listeners, each a word NAME=PORT=ADVERTISED-PORT, for clients that are to
# reach the broker through a proxy: it tells them the advertised port.
kafka_configure() {
  local directory=$1 port=$2 controller_port=$3 word name listen advertised
  local listeners="" advertised_listeners="" protocols=""
  for word in ${LOCKSTEP_KAFKA_LISTENERS:-}; do
    IFS='=' read -r name listen advertised <<<"$word"
    listeners+=,$name://127.0.0.1:$listen
    advertised_listeners+=,$name://127.0.0.1:$advertised
    protocols+=,$name:PLAINTEXT
  done
  cat >"$directory/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller_port
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller_port$listeners
advertised.listeners=PLAINTEXT://127.0.0.1:$port$advertised_listeners
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT$protocols
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=$directory/data
auto.create.topics.enable=false
num.partitions=1
default.replication.factor=1
min.insync.replicas=1
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.cleaner.dedupe.buffer.size=4194304
num.network.threads=2
num.io.threads=4
num.recovery.threads.per.data.dir=1
controlled.shutdown.enable=false
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=250
PROPERTIES
}

# kafka_java DIR ARGUMENTS...: sets kafka_java_command.
kafka_java() {
  local java
  java=$(java_command) || fail "no Java 17 or later found (run deploy/local/dependencies)"
  kafka_java_command=("$java" -cp "$(kafka_home)/libs/*" "-Djava.io.tmpdir=$1/tmp" -Djava.awt.headless=true
    -Dorg.slf4j.simpleLogger.logFile=System.err -Dorg.slf4j.simpleLogger.showDateTime=true
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX"
    -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info)
}

kafka_format() {
  local directory=$1 cluster_id
  # A cluster id is a UUID's 16 bytes in unpadded URL-safe base 64, and must not begin with a dash.
  cluster_id=A$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c 2-21)w
  rm -rf "$directory/data" "$directory/tmp"
  mkdir -p "$directory/data" "$directory/tmp"
  kafka_java "$directory"
  if ! "${kafka_java_command[@]}" -XX:TieredStopAtLevel=1 -XX:+UseSerialGC kafka.tools.StorageTool format \
    --cluster-id "$cluster_id" --config "$directory/server.properties" >"$directory/log" 2>&1 9>&-; then
    process_failed "$directory"
    return 1
  fi
}

# kafka_start DIR: starts the broker kept in DIR, making it first where there is none; returns when it
# answers. A broker that runs already is left alone; one that ran before keeps its port and its data.
kafka_start() {
  local directory=$1 attempt port controller_port
  process_running "$directory" && return 0
  kafka_install || return 1
  mkdir -p "$directory"
  directory=$(cd "$directory" && pwd)
  for attempt in 1 2 3; do
    if [[ ! -f $directory/port ]]; then
      free_port port
      free_port controller_port
      kafka_configure "$directory" "$port" "$controller_port"
      kafka_format "$directory" || return 1
    fi
    kafka_java "$directory"
    process_start "$directory" "${kafka_java_command[@]}" -Xms256m -Xmx512m -XX:+UseG1GC kafka.Kafka \
      "$directory/server.properties"
    if process_ready "$directory" 60 kafka_answers "127.0.0.1:${port:-$(<"$directory/port")}"; then
      # Written last: without it the next start begins anew.
      [[ -f $directory/port ]] || printf '%s\n' "$port" >"$directory/port"
      return 0
    fi
    if ((attempt < 3)) && [[ ! -f $directory/port ]] && grep -q 'Address already in use' "$directory/log"; then
      process_kill "$directory"
      continue
    fi
    process_failed "$directory"
    process_kill "$directory"
    return 1
  done
}

# kafka_stop DIR: an orderly shutdown.
kafka_stop() {
  process_stop "$1" TERM 30
}

# kafka_kill DIR: SIGKILL.
kafka_kill() {
  process_kill "$1"
}

# kafka_address DIR
kafka_address() {
  printf '127.0.0.1:%s' "$(<"$1/port")"
}

# kafka_environment DIR: as NAME=value lines.
kafka_environment() {
  printf 'KAFKA_BOOTSTRAP_SERVERS=%s\n' "$(kafka_address "$1")"
}
