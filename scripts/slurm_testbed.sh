#!/usr/bin/env bash
# A real Slurm on one machine, for the tests of the Slurm launcher: authentication, a controller and one node, from the
# packages of Debian or Ubuntu, with every file below one folder. Needs root. Several may run at once.
#
# usage: scripts/slurm_testbed.sh install      what is missing, by apt-get
#        scripts/slurm_testbed.sh start DIR    prints a line to eval: export SLURM_CONF=...
#        scripts/slurm_testbed.sh stop DIR     ends it with all its jobs, at whatever point it is; the files stay
#
# The node has at least 4 CPUs, whatever the machine has. A job in the partition `urgent` preempts those in `debug`, the
# default: their steps get their --signal, or SIGTERM, and after some 3 to 13 seconds they are killed and queued again.
# Stop it before its folder is removed: without the folder its processes cannot be found.
set -euo pipefail
export PATH="$PATH:/usr/sbin:/sbin"
packages=(munge slurmctld slurmd slurm-client)

fail() {
    echo "slurm_testbed: $*" >&2
    exit 1
}

fail_with_log() {  # MESSAGE DAEMON
    echo "slurm_testbed: $1; $dir/$2.log ends with:" >&2
    tail -n 5 "$dir/$2.log" >&2 || true
    exit 1
}

# Fails unless a daemon or a command of the packages is absent, and names those that are.
missing() {
    local command absent=()
    for command in munged slurmctld slurmd sbatch; do
        command -v "$command" > /dev/null || absent+=("$command")
    done
    [ ${#absent[@]} -gt 0 ] && echo "${absent[*]}"
}

install() {
    local absent output
    absent="$(missing)" || return 0
    [ "$(id -u)" = 0 ] || fail "$absent missing, and only root can install ${packages[*]}"
    command -v apt-get > /dev/null || fail "$absent missing, and there is no apt-get to install ${packages[*]}"
    export DEBIAN_FRONTEND=noninteractive
    output="$({ apt-get update && apt-get install --yes --no-install-recommends "${packages[@]}"; } 2>&1)" ||
        fail "apt-get cannot install ${packages[*]}: $(grep '^E:' <<< "$output" | head -n 1)"
}

# Runs a daemon where $dir/namespace is a mount point, which it is nowhere else. The daemon's descendants, the jobs
# among them, inherit that and cannot lose it; so `processes` finds them all, and never another process by an old id.
daemon() {  # NAME ARGUMENT...
    # shellcheck disable=SC2016
    unshare --mount bash -c 'mount --bind "$0" "$0" && exec "$@"' "$dir/namespace" "$@" \
        < /dev/null >> "$dir/$1.log" 2>&1 || fail_with_log "$1 did not start" "$1"
}

processes() {
    { grep --no-messages --files-with-matches --fixed-strings " $dir/namespace " /proc/[0-9]*/mountinfo || true; } |
        cut --delimiter=/ --fields=3
}

ended() { [ -z "$(processes)" ]; }

idle() { [ "$(sinfo --noheader --partition=debug --format=%T 2> /dev/null)" = idle ]; }

within() {  # SECONDS COMMAND...: until the command succeeds, or for so long
    local end=$((SECONDS + $1))
    shift
    until "$@" > /dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.1
    done
}

stop() {
    local signal
    for signal in TERM KILL KILL; do
        ended && return 0
        # shellcheck disable=SC2046
        kill -s "$signal" $(processes) 2> /dev/null || true
        within 2 ended || true
    done
    ended || fail "cannot end these processes of $dir: $(processes | xargs)"
}

# A port on which nothing listens, below those that the kernel hands out; by chance, so that two testbeds which start
# together differ.
free_port() {
    local port=''
    until [ -n "$port" ] && ! (: < "/dev/tcp/127.0.0.1/$port") 2> /dev/null; do
        port=$((10000 + RANDOM % 20000))
    done
    echo "$port"
}

configure() {
    local cpus memory
    cpus="$(nproc)"
    memory="$(awk '/^MemTotal:/ { print int($2 / 1024) }' /proc/meminfo)"
    # Nothing here uses cgroups. Version 2 would be set up all the same, and needs systemd; version 1 is left alone.
    echo "CgroupPlugin=cgroup/v1" > "$dir/cgroup.conf"
    cat > "$dir/slurm.conf" << END
ClusterName=testbed
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
# A job that is queued again waits until its old credential has expired: two minutes by default, too long for a test.
# With less than 10 seconds it can start anew before the last process of a failed node has ended, which drains the node.
AuthInfo=socket=$dir/munge.socket,cred_expire=10
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
SlurmctldParameters=preempt_send_user_signal
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=2
ReturnToService=2
# More than the machine may have, and never watched.
SlurmdParameters=config_overrides
NodeName=$host NodeAddr=127.0.0.1 CPUs=$((cpus > 4 ? cpus : 4)) RealMemory=$((memory > 16000 ? memory : 16000))
PartitionName=debug Nodes=ALL Default=YES PriorityTier=1 GraceTime=2
PartitionName=urgent Nodes=ALL PriorityTier=2
END
}

start() {
    local absent host
    [ "$(id -u)" = 0 ] || fail "only root can start a Slurm"
    ! absent="$(missing)" || fail "$absent missing; see: scripts/slurm_testbed.sh install"
    unshare --mount true 2> /dev/null || fail "mount namespaces are needed, and this machine does not allow them"
    host="$(uname --nodename)"
    host="${host%%.*}"
    [[ "$dir" != *[!A-Za-z0-9_./+-]* ]] || fail "Slurm's configuration cannot hold this path: $dir"
    # The longest socket is that of a job step, spool/HOST_JOB.STEP; the kernel allows 107 bytes.
    [ $((${#dir} + ${#host})) -le 78 ] || fail "sockets need a shorter path than this: $dir"
    ended || fail "$dir has a testbed that runs; stop it first"

    mkdir -p "$dir"/{namespace,state}
    rm -rf "$dir"/{spool,*.log,*.pid,munge.*}
    trap 'stop' EXIT
    configure
    export SLURM_CONF="$dir/slurm.conf"
    # By force, because munged minds that other users cannot reach the socket. Only root will.
    (umask 077 && head --bytes=128 /dev/urandom > "$dir/munge.key")
    daemon munged --force --socket="$dir/munge.socket" --key-file="$dir/munge.key" --seed-file="$dir/munge.seed" \
        --pid-file="$dir/munged.pid" --log-file="$dir/munged.log"
    daemon slurmctld -c -s
    within 15 scontrol ping || fail_with_log "the controller does not answer" slurmctld
    daemon slurmd -s
    within 15 idle || fail_with_log "the node is not idle but $(sinfo --noheader --format=%T 2>&1 | head -n 1)" slurmd
    trap - EXIT
    echo "export SLURM_CONF=$SLURM_CONF"
}

case "${1:-} $#" in
    "install 1") install ;;
    "start 2" | "stop 2")
        dir="$(realpath --canonicalize-missing -- "$2")"
        "$1"
        ;;
    *) fail "usage: $0 install | start DIR | stop DIR" ;;
esac
